"""The Open Inference Protocol, spoken by a client that was not written here."""

from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from driftline.streams.definition import StreamDefinition
from driftline.streams.layout import Layout
from driftline_inference.registry.versions import LoadedModel
from tests.inference.conftest import app_of, put
from tests.models import Models
from tests.serving import served

NAME = "outdoor-temperature.batch"
RECORD_MEMBERS = ("batch.records", "speed.records")


@pytest.fixture
async def serving(store, stream: StreamDefinition, versions) -> AsyncIterator[tuple[str, LoadedModel]]:
    """Address of a served model, and the model."""
    await put(store, stream, versions[0])
    app = app_of(store, stream)
    models = Models.of(app)
    await models.reconcile()
    async with served(app) as address:
        yield address, models.serving()[stream.name, "batch"]


@pytest.fixture
async def client(serving) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(serving[0]) as made:
        yield made


async def test_server_and_model_describe_themselves(client, serving, stream: StreamDefinition):
    version = serving[1].version
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready(NAME)
    assert await client.is_model_ready(NAME, version)
    assert not await client.is_model_ready(NAME, "v000099-000000000000")
    extensions = (await client.get_server_metadata())["extensions"]
    assert extensions == ["binary_tensor_data", "model_repository", "model_configuration", "statistics"]
    described = await client.get_model_metadata(NAME)
    assert described["versions"] == [version]
    width = Layout.of(stream).net_width
    assert described["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, width]}]
    assert described["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, 1]}]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("answered", [True, False])
async def test_it_infers_what_the_golden_rows_promise(client, serving, *, sent: bool, answered: bool):
    golden = serving[1].manifest.golden
    rows = np.array(golden.inputs, dtype=np.float32)
    tensor = triton.InferInput("input", list(rows.shape), "FP32").set_data_from_numpy(rows, binary_data=sent)
    output = triton.InferRequestedOutput("output", binary_data=answered)
    result = await client.infer(NAME, [tensor], outputs=[output], request_id="7")
    np.testing.assert_allclose(result.as_numpy("output"), golden.outputs, atol=1e-5)
    told = result.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", NAME, serving[1].version)


async def test_what_is_wrong_is_told_in_the_protocols_shape(client, stream: StreamDefinition):
    width = Layout.of(stream).net_width
    rows = np.zeros((2, width + 1), dtype=np.float32)
    tensor = triton.InferInput("input", list(rows.shape), "FP32").set_data_from_numpy(rows)
    with pytest.raises(InferenceServerException, match=rf"found shape \[2, {width + 1}\], expected") as error:
        await client.infer(NAME, [tensor])
    assert error.value.status() == "400"
    with pytest.raises(InferenceServerException, match="found no model 'none' that serves, expected one of") as error:
        await client.infer("none", [tensor])
    assert error.value.status() == "404"


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"{", {}, "expected an inference request"),
        (b'{"inputs": []}', {}, "the number of inputs: found 0, expected 1"),
        (b"{}", {"Inference-Header-Content-Length": "9"}, "found '9', expected at most the body's 2 bytes"),
        (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1]}]}', {}, "an input: found 'x'"),
        (b'{"inputs": [{"name": "input", "datatype": "INT8", "shape": [1, 1]}]}', {}, "datatype: found 'INT8'"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [9999999, W]}]}', {}, "expected [1 to 4096"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, W]}]}', {}, "binary_data_size: found None"),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, W], "data": ["a"]}]}',
            {},
            "expected numbers",
        ),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, W], "data": [1]}]}', {}, "found 1, expected"),
    ],
)
async def test_a_broken_request_is_refused(serving, stream: StreamDefinition, body: bytes, headers, message: str):
    body = body.replace(b"W", str(Layout.of(stream).net_width).encode())
    async with httpx.AsyncClient(base_url=f"http://{serving[0]}") as plain:
        answer = await plain.post(f"/v2/models/{NAME}/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


async def test_the_repository_lists_what_serves_and_what_does_not(client, serving):
    listed = {model["name"]: model for model in await client.get_model_repository_index()}
    assert set(listed) == {f"outdoor-temperature.{member}" for member in ("batch", "speed", *RECORD_MEMBERS)}
    assert (listed[NAME]["state"], listed[NAME]["version"]) == ("READY", serving[1].version)
    assert listed["outdoor-temperature.speed"]["state"] == "UNAVAILABLE"
    async with httpx.AsyncClient(base_url=f"http://{serving[0]}") as plain:
        ready = (await plain.post("/v2/repository/index", json={"ready": True})).json()
        wrong = await plain.post("/v2/repository/index", json={"ready": "perhaps"})
    assert [model["name"] for model in ready] == [NAME, f"{NAME}.records"]
    assert (wrong.status_code, "body.ready" in wrong.json()["error"]) == (422, True)


async def test_no_client_loads_or_unloads_a_model(client):
    for verb in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="the models follow the store"):
            await verb(NAME)


async def test_a_model_tells_its_configuration(client, serving, stream: StreamDefinition):
    config = await client.get_model_config(NAME)
    (given,) = config["input"]
    assert (config["name"], config["max_batch_size"]) == (NAME, 4096)
    assert (given["data_type"], given["dims"]) == ("TYPE_FP32", [Layout.of(stream).net_width])
    of_records = await client.get_model_config(f"{NAME}.records")
    assert [given["data_type"] for given in of_records["input"]] == ["TYPE_STRING"]
    assert [(given["name"], given["dims"]) for given in of_records["output"]] == [
        ("key", [-1]),
        ("time", [-1, 1]),
        ("forecast", [-1, 1]),
    ]


async def test_statistics_count_what_came_through_this_door(client, serving):
    (before,) = (await client.get_inference_statistics(NAME))["model_stats"]
    assert (before["inference_count"], before["last_inference"]) == (0, 0)
    rows = np.zeros((3, serving[1].manifest.width), dtype=np.float32)
    tensor = triton.InferInput("input", list(rows.shape), "FP32").set_data_from_numpy(rows)
    await client.infer(NAME, [tensor])
    await client.infer(NAME, [tensor])
    wrong = triton.InferInput("input", [1, 1], "FP32").set_data_from_numpy(rows[:1, :1])
    with pytest.raises(InferenceServerException):
        await client.infer(NAME, [wrong])
    (after,) = (await client.get_inference_statistics(NAME))["model_stats"]
    assert (after["version"], after["inference_count"], after["execution_count"]) == (serving[1].version, 6, 2)
    counts = {name: part["count"] for name, part in after["inference_stats"].items()}
    assert counts == {"success": 2, "fail": 1, "queue": 2, "compute_input": 2, "compute_infer": 2, "compute_output": 2}
    assert after["inference_stats"]["success"]["ns"] >= after["inference_stats"]["compute_infer"]["ns"] > 0
    everything = (await client.get_inference_statistics())["model_stats"]
    assert [model["name"] for model in everything] == [NAME, f"{NAME}.records"]


async def test_what_the_protocol_does_not_have_is_answered_in_its_form(serving):
    headers = {"Authorization": "Bearer hush"}
    async with httpx.AsyncClient(base_url=f"http://{serving[0]}", headers=headers) as plain:
        answers = [await plain.get("/v2/nothing/here"), await plain.delete(f"/v2/models/{NAME}")]
    assert [(answer.status_code, list(answer.json())) for answer in answers] == [(404, ["error"])] * 2
