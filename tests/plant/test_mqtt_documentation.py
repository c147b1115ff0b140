"""docs/mqtt.md and the files beside it: every example is a message, and every table is what the bridge does."""

import json
import re

import pytest
from bridge_and_plc import ROOT

from linewatch.config.load import checked
from linewatch.plant.mqtt.bodies import BODIES, COMMAND, topics_schema
from linewatch.plant.mqtt.metrics import DEVICE_METRICS, NODE_METRICS, aliases
from linewatch.plant.mqtt.settings import MqttSettings
from linewatch.plant.mqtt.topics import topics_csv
from linewatch.wire.schema import AlarmBody
from tools.reference import mqtt_files

PAGE = (ROOT / "docs" / "mqtt.md").read_text()
EXAMPLES = re.findall(r'```json title="PREFIX/([^"]+)"\n(.*?)```', PAGE, re.DOTALL)


@pytest.mark.parametrize(("topic", "text"), EXAMPLES, ids=[topic for topic, _ in EXAMPLES])
def test_an_example_is_a_message_with_every_field(topic, text):
    if topic == "command":
        COMMAND.validate_json(text)
        return
    model = AlarmBody if topic.startswith("alarms/") else BODIES[topic]
    assert json.loads(text).keys() == json.loads(model.model_validate_json(text).model_dump_json()).keys()


def test_every_command_and_every_topic_is_on_the_page():
    schema = json.loads(topics_schema())
    for name in schema["topics"]:
        assert f"| `PREFIX/{name}` |" in PAGE
    configured = 'prefix = "PREFIX"\ntopics = ["defect", "alarm", "coil", "roll_mark", "frame"]'
    table = topics_csv(settings(f'[plain]\n{configured}\n[commands]\ncommands = "ipc:///run/cmd"'))
    for row in table.splitlines()[1:]:
        topic, quality, *_ = row.split(",")
        assert f"| `{topic}` | {quality} |" in PAGE
    for command in ("coil_data", "coil_start", "coil_end", "acknowledge", "shelve", "unshelve"):
        assert f"`{command}`" in PAGE


def test_every_metric_is_on_the_page():
    for owner, metrics in (("node", NODE_METRICS), ("device", DEVICE_METRICS)):
        for name, alias in aliases(owner, metrics).items():
            assert f"| {alias} | `{name}` |" in PAGE


@pytest.mark.parametrize(("path", "text"), list(mqtt_files().items()), ids=[path.name for path in mqtt_files()])
def test_a_file_beside_the_page_is_up_to_date(path, text):
    assert path.read_text() == text, "run make reference"


def test_the_settings_of_the_page_are_good():
    blocks = re.findall(r"```toml[^\n]*\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        settings(block)


def settings(text: str) -> MqttSettings:
    import tomllib

    return checked(tomllib.loads(text), "the page", MqttSettings, text)
