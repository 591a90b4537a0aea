"""The real SDKs against a server that replays recorded responses: what they return is what it is without us, and the
usage that we record is the recording's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

KEY = "sk-test-0123456789abcdefghij"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Tell me a joke about rain."}]}
CLAUDE: dict[str, Any] = {"max_tokens": 100, **ASK, "model": "claude-3-5-haiku-latest"}
Shape = Callable[[str], Any]
SHAPES: list[Any] = []


def shape(library: str, provider: str, path: str, **picked: Any) -> Callable[[Shape], Shape]:
    """One shape of call: its SDK, whom the server plays and which recording it gives. The result is compared."""

    def add(function: Shape) -> Shape:
        SHAPES.append(pytest.param(library, (provider, path, picked), function, id=function.__name__))
        return function

    return add


def result(function: Shape, url: str) -> Any:
    """What the shape's function returns, run to its end."""
    found = function(url)
    return asyncio.run(found) if isinstance(found, Coroutine) else found


_PROVIDERS = {"azure-openai": "azure", "bedrock": "aws", "openai-compat-local": "openai"}


@pytest.mark.parametrize(("library", "wanted", "function"), SHAPES)
def test_a_call_is_metered_and_left_as_it_is(
    library: str, wanted: tuple[str, str, dict[str, Any]], function: Shape, replay: Any, metered: Any, pick: Any
) -> None:
    """The result equals the one without us; one event has the usage, model and id that the recording has."""
    pytest.importorskip(library, reason=f"SDK MISSING: {library}")
    provider, path, picked = wanted
    recording = pick(provider, path, **picked)
    replay.serve(recording)
    plain = result(function, replay.url)
    sent = [(one.path, one.body) for one in replay.seen]
    replay.serve(recording)
    meter = metered(_PROVIDERS.get(provider, provider))
    assert result(function, replay.url) == plain
    if "multipart" not in replay.seen[0].headers.get("content-type", ""):
        assert [(one.path, one.body) for one in replay.seen] == sent
    expected = recording.extraction
    event = meter.event
    assert event.usage == expected.usage
    assert event.usage_status == expected.status == "reported"
    assert event.response_id == expected.response_id
    assert event.provider == expected.provider
    assert event.source == "transport" and event.calls == 1 and event.error is None
    if not recording.path.startswith("/openai/deployments") and "/model" not in recording.path:
        assert event.model == (expected.model or event.requested_model or event.model)


# --- openai ----------------------------------------------------------------------------------------------------------


def _openai(url: str, **how: Any) -> Any:
    import openai

    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, **how)


def _aopenai(url: str, **how: Any) -> Any:
    import openai

    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, **how)


def _dump(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value


@shape("openai", "openai", "/chat/completions")
def openai_chat(url: str) -> Any:
    return _dump(_openai(url).chat.completions.create(**ASK))


@shape("openai", "openai", "/chat/completions", stream=True)
def openai_chat_stream(url: str) -> Any:
    return [_dump(chunk) for chunk in _openai(url).chat.completions.create(**ASK, stream=True)]


@shape("openai", "openai", "/chat/completions")
async def openai_chat_async(url: str) -> Any:
    async with _aopenai(url) as client:
        return _dump(await client.chat.completions.create(**ASK))


@shape("openai", "openai", "/chat/completions", stream=True)
async def openai_chat_stream_async(url: str) -> Any:
    async with _aopenai(url) as client:
        return [_dump(chunk) async for chunk in await client.chat.completions.create(**ASK, stream=True)]


@shape("openai", "openai", "/chat/completions")
def openai_chat_parse(url: str) -> Any:
    return _dump(_openai(url).chat.completions.parse(**ASK))


@shape("openai", "openai", "/chat/completions")
def openai_chat_raw(url: str) -> Any:
    raw = _openai(url).chat.completions.with_raw_response.create(**ASK)
    return raw.http_response.content, _dump(raw.parse())


@shape("openai", "openai", "/chat/completions", stream=True)
def openai_chat_raw_stream(url: str) -> Any:
    raw = _openai(url).chat.completions.with_raw_response.create(**ASK, stream=True)
    return [_dump(chunk) for chunk in raw.parse()]


@shape("openai", "openai", "/chat/completions", stream=True)
def openai_chat_streaming_response(url: str) -> Any:
    with _openai(url).chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        return b"".join(response.iter_bytes())


@shape("openai", "openai", "/chat/completions")
async def openai_chat_streaming_response_async(url: str) -> Any:
    async with (
        _aopenai(url) as client,
        client.chat.completions.with_streaming_response.create(**ASK) as response,
    ):
        return [line async for line in response.iter_lines()]


@shape("openai", "openai", "/chat/completions", stream=True)
def openai_chat_stream_helper(url: str) -> Any:
    with _openai(url).chat.completions.stream(**ASK) as stream:
        return [event.type for event in stream], _dump(stream.get_final_completion())


@shape("openai", "openai", "/chat/completions", stream=True)
async def openai_chat_stream_helper_async(url: str) -> Any:
    async with _aopenai(url) as client, client.chat.completions.stream(**ASK) as stream:
        return [event.type async for event in stream], _dump(await stream.get_final_completion())


@shape("openai", "openai", "/responses")
def openai_responses(url: str) -> Any:
    return _dump(_openai(url).responses.create(model="gpt-4o-mini", input="Hello there"))


@shape("openai", "openai", "/responses", stream=True)
def openai_responses_stream(url: str) -> Any:
    return [_dump(one) for one in _openai(url).responses.create(model="gpt-4o-mini", input="Hello", stream=True)]


@shape("openai", "openai", "/responses", stream=True)
async def openai_responses_stream_async(url: str) -> Any:
    async with _aopenai(url) as client:
        stream = await client.responses.create(model="gpt-4o-mini", input="Hello", stream=True)
        return [_dump(one) async for one in stream]


@shape("openai", "openai", "/responses", stream=True)
def openai_responses_stream_helper(url: str) -> Any:
    with _openai(url).responses.stream(model="gpt-4o-mini", input="Hello") as stream:
        return [event.type for event in stream]


@shape("openai", "openai", "/responses")
def openai_responses_raw(url: str) -> Any:
    return _openai(url).responses.with_raw_response.create(model="gpt-4o-mini", input="Hello").text


@shape("openai", "openai", "/embeddings")
def openai_embeddings(url: str) -> Any:
    return _dump(_openai(url).embeddings.create(model="text-embedding-3-small", input=["Hello", "you"]))


@shape("openai", "openai", "/v1/completions")
def openai_completions(url: str) -> Any:
    return _dump(_openai(url).completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon"))


@shape("openai", "openai", "/transcriptions")
def openai_transcription(url: str) -> Any:
    sound = ("rain.wav", io.BytesIO(b"RIFF" + bytes(2000)))
    return _dump(_openai(url).audio.transcriptions.create(model="gpt-4o-transcribe", file=sound))


@shape("openai", "groq", "/chat/completions")
def openai_at_groq(url: str) -> Any:
    return _dump(_openai(url).chat.completions.create(**ASK))


@shape("openai", "groq", "/chat/completions", stream=True)
def openai_at_groq_stream(url: str) -> Any:
    return [_dump(chunk) for chunk in _openai(url).chat.completions.create(**ASK, stream=True)]


@shape("openai", "openai-compat-local", "/chat/completions")
def openai_at_a_local_server(url: str) -> Any:
    return _dump(_openai(url).chat.completions.create(**ASK))


@shape("openai", "writer", "/v1/chat", stream=True)
def openai_client_at_writer(url: str) -> Any:
    client = _openai(url)
    return [_dump(one) for one in client.post("/chat", cast_to=object, body=ASK, stream=True, stream_cls=_stream())]


def _stream() -> Any:
    import openai

    return openai.Stream[Any]


def _azure(url: str) -> Any:
    import openai

    return openai.AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2024-02-01", max_retries=0)


@shape("openai", "azure-openai", "/chat/completions")
def azure_chat(url: str) -> Any:
    return _dump(_azure(url).chat.completions.create(**{**ASK, "model": "openllmetry-testing"}))


@shape("openai", "azure-openai", "/embeddings")
def azure_embeddings(url: str) -> Any:
    return _dump(_azure(url).embeddings.create(model="test-deployment", input="Hello"))


# --- anthropic -------------------------------------------------------------------------------------------------------


def _anthropic(url: str) -> Any:
    import anthropic

    return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)


def _aanthropic(url: str) -> Any:
    import anthropic

    return anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0)


@shape("anthropic", "anthropic", "/messages")
def anthropic_create(url: str) -> Any:
    return _dump(_anthropic(url).messages.create(**CLAUDE))


@shape("anthropic", "anthropic", "/messages", stream=True)
def anthropic_create_stream(url: str) -> Any:
    return [_dump(one) for one in _anthropic(url).messages.create(**CLAUDE, stream=True)]


@shape("anthropic", "anthropic", "/messages", stream=True)
def anthropic_stream_helper(url: str) -> Any:
    with _anthropic(url).messages.stream(**CLAUDE) as stream:
        return "".join(stream.text_stream), _dump(stream.get_final_message())


@shape("anthropic", "anthropic", "/messages")
async def anthropic_create_async(url: str) -> Any:
    async with _aanthropic(url) as client:
        return _dump(await client.messages.create(**CLAUDE))


@shape("anthropic", "anthropic", "/messages", stream=True)
async def anthropic_stream_helper_async(url: str) -> Any:
    async with _aanthropic(url) as client, client.messages.stream(**CLAUDE) as stream:
        return [_dump(one) async for one in stream]


@shape("anthropic", "anthropic", "/messages")
def anthropic_raw(url: str) -> Any:
    return _anthropic(url).messages.with_raw_response.create(**CLAUDE).text()


@shape("anthropic", "anthropic", "/messages", stream=True)
def anthropic_streaming_response(url: str) -> Any:
    with _anthropic(url).messages.with_streaming_response.create(**CLAUDE, stream=True) as response:
        return list(response.iter_lines())


@shape("anthropic", "anthropic", "/messages")
def anthropic_beta(url: str) -> Any:
    return _dump(_anthropic(url).beta.messages.create(**CLAUDE))


@shape("anthropic", "anthropic", "/messages", stream=True)
def anthropic_beta_stream_helper(url: str) -> Any:
    with _anthropic(url).beta.messages.stream(**CLAUDE) as stream:
        return [_dump(one) for one in stream]


# --- google ----------------------------------------------------------------------------------------------------------


def _google(url: str) -> Any:
    from google import genai

    return genai.Client(api_key=KEY, http_options={"base_url": url})


HAIKU = {"model": "gemini-2.0-flash", "contents": "A haiku about rain."}


@shape("google.genai", "google", ":generateContent")
def google_generate(url: str) -> Any:
    with _google(url) as client:
        return _without_http(client.models.generate_content(**HAIKU))


@shape("google.genai", "google", ":streamGenerateContent", stream=True)
def google_stream(url: str) -> Any:
    with _google(url) as client:
        return [_without_http(one) for one in client.models.generate_content_stream(**HAIKU)]


@shape("google.genai", "google", ":generateContent")
async def google_generate_async(url: str) -> Any:
    return _without_http(await _google(url).aio.models.generate_content(**HAIKU))


@shape("google.genai", "google", ":streamGenerateContent", stream=True)
async def google_stream_async(url: str) -> Any:
    stream = await _google(url).aio.models.generate_content_stream(**HAIKU)
    return [_without_http(one) async for one in stream]


def _without_http(response: Any) -> Any:
    return response.model_dump(exclude={"sdk_http_response"})


# --- mistral, cohere, ollama -----------------------------------------------------------------------------------------


def _mistral(url: str) -> Any:
    from mistralai.client import Mistral

    return Mistral(api_key=KEY, server_url=url)


MISTRAL = {**ASK, "model": "mistral-small-latest"}


@shape("mistralai.client", "mistral", "/chat/completions")
def mistral_complete(url: str) -> Any:
    return _dump(_mistral(url).chat.complete(**MISTRAL))


@shape("mistralai.client", "mistral", "/chat/completions", stream=True)
def mistral_stream(url: str) -> Any:
    return [_dump(one) for one in _mistral(url).chat.stream(**MISTRAL)]


@shape("mistralai.client", "mistral", "/chat/completions")
async def mistral_complete_async(url: str) -> Any:
    return _dump(await _mistral(url).chat.complete_async(**MISTRAL))


@shape("mistralai.client", "mistral", "/chat/completions", stream=True)
async def mistral_stream_async(url: str) -> Any:
    return [_dump(one) async for one in await _mistral(url).chat.stream_async(**MISTRAL)]


@shape("mistralai.client", "mistral", "/embeddings")
def mistral_embeddings(url: str) -> Any:
    return _dump(_mistral(url).embeddings.create(model="mistral-embed", inputs=["Hello"]))


COHERE = {**ASK, "model": "command-r-plus"}


def _cohere(url: str) -> Any:
    import cohere

    return cohere.ClientV2(api_key=KEY, base_url=url)


@shape("cohere", "cohere", "/v2/chat")
def cohere_chat(url: str) -> Any:
    return _dump(_cohere(url).chat(**COHERE))


@shape("cohere", "cohere", "/v2/chat", stream=True)
def cohere_stream(url: str) -> Any:
    return [_dump(one) for one in _cohere(url).chat_stream(**COHERE)]


@shape("cohere", "cohere", "/v2/chat", stream=True)
async def cohere_stream_async(url: str) -> Any:
    import cohere

    return [_dump(one) async for one in cohere.AsyncClientV2(api_key=KEY, base_url=url).chat_stream(**COHERE)]


@shape("cohere", "cohere", "/v2/embed")
def cohere_embed(url: str) -> Any:
    return _dump(_cohere(url).embed(
        model="embed-v4.0", input_type="search_query", texts=["Hello"], embedding_types=["float"]
    ))  # fmt: skip


@shape("cohere", "cohere", "/v2/rerank")
def cohere_rerank(url: str) -> Any:
    return _dump(_cohere(url).rerank(model="rerank-v3.5", query="rain", documents=["a", "b", "c"]))


@shape("ollama", "ollama", "/api/chat")
def ollama_chat(url: str) -> Any:
    import ollama

    return _dump(ollama.Client(host=url).chat(**ASK))


@shape("ollama", "ollama", "/api/chat", stream=True)
def ollama_stream(url: str) -> Any:
    import ollama

    return [_dump(one) for one in ollama.Client(host=url).chat(**ASK, stream=True)]


@shape("ollama", "ollama", "/api/generate", stream=True)
async def ollama_generate_async(url: str) -> Any:
    import ollama

    return [_dump(one) async for one in await ollama.AsyncClient(host=url).generate("llama3", "Hello", stream=True)]


# --- bedrock ---------------------------------------------------------------------------------------------------------


def _bedrock(url: str) -> Any:
    import boto3

    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key=KEY,
    )


NOVA = "amazon.nova-lite-v1:0"
TURNS = [{"role": "user", "content": [{"text": "Tell me a joke."}]}]


def _plain(value: Any) -> Any:
    return {name: inner for name, inner in value.items() if name != "ResponseMetadata"}


@shape("boto3", "bedrock", "nova-lite-v1%3A0/converse")
def bedrock_converse(url: str) -> Any:
    return _plain(_bedrock(url).converse(modelId=NOVA, messages=TURNS))


@shape("boto3", "bedrock", "nova-lite-v1%3A0/converse-stream", stream=True)
def bedrock_converse_stream(url: str) -> Any:
    return list(_bedrock(url).converse_stream(modelId=NOVA, messages=TURNS)["stream"])


@shape("boto3", "bedrock", "nova-lite-v1%3A0/invoke")
def bedrock_invoke(url: str) -> Any:
    return _bedrock(url).invoke_model(modelId=NOVA, body=json.dumps({"messages": TURNS}))["body"].read()


@shape("boto3", "bedrock", "nova-lite-v1%3A0/invoke-with-response-stream", stream=True)
def bedrock_invoke_stream(url: str) -> Any:
    answer = _bedrock(url).invoke_model_with_response_stream(modelId=NOVA, body=json.dumps({"messages": TURNS}))
    return list(answer["body"])


# --- frameworks ------------------------------------------------------------------------------------------------------


@shape("langchain_openai", "openai", "/chat/completions")
def langchain_invoke(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="gpt-4o-mini", base_url=f"{url}/v1", api_key=KEY).invoke("Hello").usage_metadata


@shape("langchain_openai", "openai", "/chat/completions", stream=True)
def langchain_stream(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return [one.content for one in ChatOpenAI(model="gpt-4o-mini", base_url=f"{url}/v1", api_key=KEY).stream("Hello")]


@shape("langchain_anthropic", "anthropic", "/messages")
def langchain_anthropic_invoke(url: str) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model="claude-3-5-haiku-latest", base_url=url, api_key=KEY).invoke("Hello").usage_metadata


@shape("pydantic_ai", "openai", "/chat/completions", has=b'"content": "')
def pydantic_ai_agent(url: str) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("gpt-4o-mini", provider=OpenAIProvider(base_url=f"{url}/v1", api_key=KEY))
    return Agent(model).run_sync("Hello").output


def _litellm(url: str, call: str = "completion", **how: Any) -> Any:
    """LiteLLM with the prices it ships: it would ask the network for newer ones when it is imported."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    asked = {**ASK, "model": "openai/gpt-4o-mini", **how}
    return getattr(litellm, call)(api_base=f"{url}/v1", api_key=KEY, max_retries=0, **asked)


@shape("litellm", "openai", "/chat/completions")
def litellm_completion(url: str) -> Any:
    return _litellm(url).choices[0].message.content


@shape("litellm", "openai", "/chat/completions", stream=True)
def litellm_stream(url: str) -> Any:
    return [one.choices[0].delta.content for one in _litellm(url, stream=True)]


@shape("litellm", "openai", "/chat/completions")
async def litellm_acompletion(url: str) -> Any:
    return (await _litellm(url, "acompletion")).choices[0].message.content


@pytest.fixture(scope="module", autouse=True)
def _clients_left_open() -> Any:
    """SDKs leave connections and a loop to the collector, which warns of them: here, where warnings are passed over."""
    yield
    with contextlib.suppress(RuntimeError):  # not every worker ran a test that made one
        asyncio.get_event_loop_policy().get_event_loop().close()
        asyncio.set_event_loop(None)
    gc.collect()
