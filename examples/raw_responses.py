"""Hand over what the provider answered, whole or streamed: counts, model, id and price are found in it."""

import farthing

CHAT = b"""{"id": "chatcmpl-CjZ0Yd5W2mPz8oVQx1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
  "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}],
  "usage": {"prompt_tokens": 1500, "completion_tokens": 350, "total_tokens": 1850,
            "prompt_tokens_details": {"cached_tokens": 1200}}}"""

STREAM = """\
event: message_start
data: {"type":"message_start","message":{"id":"msg_01A7xM2vQzR4","type":"message","role":"assistant",\
"model":"claude-sonnet-4-20250514","content":[],"usage":{"input_tokens":1500,"output_tokens":1}}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Three findings."}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1000}}

event: message_stop
data: {"type":"message_stop"}
"""

with farthing.CostTracker(":memory:") as tracker:
    for body in (CHAT, STREAM):
        event = tracker.record(response=body, agent="geographer")
        print(f"{event.provider} {event.model}: {event.usage} = ${event.usd} ({event.status})")
    again = tracker.record(response=CHAT, agent="geographer")
    print(f"the same response once more adds nothing: {tracker.totals().calls} calls, ${tracker.total_usd}")
