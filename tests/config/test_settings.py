"""Settings: three sources and their precedence, every wrong value's message, and the relations between settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from processor.config import Settings, load_settings
from processor.config.names import allowed, fields, free_tables, sections
from processor.config.settings import parse_address
from processor.config.showing import settings_schema, shown
from processor.errors import ConfigError

# The surface that users hold on to, written out once more: a changed default is a decision, not a slip.
DEFAULTS = """
[model]
artifact = "artifacts/model"
[kafka]
bootstrap_servers = "localhost:9092"
group_id = "processor"
group_instance_id = ""
[kafka.properties]
[kafka.consumer]
[kafka.producer]
[input]
topic = "samples"
format = "json"
start = "earliest"
[output]
topic = "probabilities"
format = "json"
[dead_letter]
topic = "samples-dead-letter"
[processing]
guarantee = "exactly_once"
commit_interval_seconds = 0.1
shutdown_seconds = 25
unavailable_seconds = 300
accept_gap = false
[state]
directory = "state"
changelog_topic = ""
snapshot_interval_seconds = 10.0
memory_mib = 1024
[sequence]
gap_seconds = 0
idle_seconds = 0
max_ahead_seconds = 86400
max_behind_seconds = 946728000
allowed_lateness_seconds = 0
[http]
listen = "127.0.0.1:9108"
[log]
format = "auto"
level = "info"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No processor.toml of the working directory takes part, unless a test writes one."""
    monkeypatch.chdir(tmp_path)


def load(*overrides: str, file: str | None = None, environ: dict[str, str] | None = None) -> Settings:
    path = None
    if file is not None:
        path = Path("given.toml")
        path.write_text(file, encoding="utf-8")
    return load_settings(path, environ or {}, overrides).settings


def refusal(*overrides: str, file: str | None = None, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, file=file, environ=environ)
    return caught.value


def test_defaults_are_the_documented_ones() -> None:
    plain = {
        section: {name: str(value) if isinstance(value, Path) else value for name, value in content.items()}
        for section, content in load().model_dump().items()
    }
    assert plain == tomllib.loads(DEFAULTS)


def test_defaults_written_to_a_file_change_nothing() -> None:
    written = load(file=DEFAULTS).model_dump()
    assert written["model"]["artifact"] == Path("artifacts/model")
    assert written == load().model_dump()


def test_later_sources_win_and_origins_say_who_won() -> None:
    Path("processor.toml").write_text(
        '[kafka]\ngroup_id = "f"\n[input]\ntopic = "f"\n[output]\ntopic = "f-out"\n[kafka.consumer]\n"a.b" = 1\n'
    )
    environ = {"PROCESSOR_INPUT__TOPIC": "e", "PROCESSOR_OUTPUT__TOPIC": "e-out", "PROCESSOR_KAFKA__CONSUMER__A_B": "2"}
    loaded = load_settings(None, environ, ["output.topic=first", "output.topic=s"])
    settings, origins = loaded.settings, loaded.origins
    assert (settings.kafka.group_id, settings.input.topic, settings.output.topic) == ("f", "e", "s")
    assert settings.kafka.consumer == {"a.b": "2"}
    assert (origins["kafka.group_id"], origins["input.topic"], origins["output.topic"]) == (
        "file",
        "environment",
        "--set",
    )
    assert (origins["kafka.consumer.a.b"], origins["log.level"]) == ("environment", "default")
    assert loaded.file == Path("processor.toml")


def test_without_any_file_the_defaults_run() -> None:
    loaded = load_settings(None, {}, [])
    assert loaded.file is None
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == set(fields()) - set(free_tables())


def test_paths_of_the_file_are_relative_to_it_and_others_to_the_working_directory(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "p.toml"
    file.write_text(
        '[model]\nartifact = "m"\n[state]\ndirectory = "/absolute"\n[kafka.properties]\n'
        '"ssl.ca.location" = "ca.pem"\n"ssl.key.location" = "/k.pem"\n"sasl.username" = "u"\n'
        '[kafka.consumer]\n"ssl.ca.location" = "probe"\n'
    )
    settings = load_settings(file, {}, []).settings
    assert settings.model.artifact == folder / "m"
    assert settings.state.directory == Path("/absolute")
    assert settings.kafka.properties == {
        "ssl.ca.location": str(folder / "ca.pem"),
        "ssl.key.location": "/k.pem",
        "sasl.username": "u",
    }
    assert settings.kafka.consumer == {"ssl.ca.location": "probe"}
    assert load_settings(file, {"PROCESSOR_MODEL__ARTIFACT": "m"}, []).settings.model.artifact == Path("m")
    assert load_settings(file, {}, ["model.artifact=m"]).settings.model.artifact == Path("m")


def test_properties_may_be_written_with_or_without_quotes() -> None:
    quoted = load(file='[kafka.properties]\n"security.protocol" = "SSL"\n"socket.keepalive.enable" = true\n')
    bare = load(file='[kafka.properties]\nsecurity.protocol = "SSL"\nsocket.keepalive.enable = true\n')
    assert (
        quoted.kafka.properties
        == bare.kafka.properties
        == {"security.protocol": "SSL", "socket.keepalive.enable": True}
    )


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().processing.accept_gap = True


def test_legal_at_the_edge() -> None:
    settings = load(
        "state.memory_mib=8",
        "state.snapshot_interval_seconds=0",
        "http.listen=[::1]:0",
        "kafka.group_instance_id=",
        "processing.accept_gap=true",
        "processing.shutdown_seconds=0",
    )
    assert (settings.state.memory_mib, settings.state.snapshot_interval_seconds) == (8, 0.0)
    assert settings.http.address == ("::1", 0)
    assert settings.kafka.group_instance_id == ""
    assert settings.processing.accept_gap is True


def test_text_that_looks_like_toml_stays_text() -> None:
    settings = load("kafka.group_id=17", "input.topic=true", "kafka.producer.acks.x=1e3", "kafka.group_instance_id= a ")
    assert (settings.kafka.group_id, settings.input.topic) == ("17", "true")
    assert settings.kafka.producer == {"acks.x": "1e3"}
    assert settings.kafka.group_instance_id == " a "


def test_derived_values() -> None:
    assert load("kafka.group_id=g").changelog_topic == "g-changelog"
    assert load("kafka.group_id=g", "state.changelog_topic=c").changelog_topic == "c"
    assert load().exactly_once
    assert not load("processing.guarantee=at_least_once").exactly_once
    assert load("sequence.gap_seconds=0.0015").sequence.gap_ms == 2
    assert load().sequence.max_ahead_ms == 86_400_000
    assert load().sequence.max_behind_ms == 946_728_000_000
    assert load("kafka.consumer.session.timeout.ms=6000").session_timeout_seconds == 6.0
    assert load("kafka.producer.transaction.timeout.ms=15000").transaction_timeout_seconds == 15.0


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("state.memory_mib=7", "state.memory_mib is 7, from --set. It must be a whole number of at least 8."),
        ("state.memory_mib=8.0", "state.memory_mib is 8.0, from --set. It must be a whole number of at least 8."),
        ("state.memory_mib=lots", "state.memory_mib is 'lots', from --set. It must be a whole number of at least 8."),
        ("state.memory_mib=", "state.memory_mib is '', from --set. It must be a whole number of at least 8."),
        (
            "processing.commit_interval_seconds=0",
            "processing.commit_interval_seconds is 0, from --set. It must be a number above 0 and at most 1e+12.",
        ),
        (
            "processing.commit_interval_seconds=nan",
            "processing.commit_interval_seconds is nan, from --set. It must be a number above 0 and at most 1e+12.",
        ),
        (
            "sequence.gap_seconds=-1",
            "sequence.gap_seconds is -1, from --set. It must be a number of at least 0 and at most 1e+12.",
        ),
        (
            "sequence.idle_seconds=inf",
            "sequence.idle_seconds is inf, from --set. It must be a number of at least 0 and at most 1e+12.",
        ),
        (
            "sequence.idle_seconds=true",
            "sequence.idle_seconds is True, from --set. It must be a number of at least 0 and at most 1e+12.",
        ),
        ("processing.accept_gap=yes", "processing.accept_gap is 'yes', from --set. It must be true or false."),
        ("processing.accept_gap=1", "processing.accept_gap is 1, from --set. It must be true or false."),
        (
            "processing.guarantee=exactly-once",
            "processing.guarantee is 'exactly-once', from --set. It must be one of exactly_once, at_least_once.",
        ),
        ("input.format=avro", "input.format is 'avro', from --set. It must be one of json, float32."),
        ("output.format=avro", "output.format is 'avro', from --set. It must be one of json, float32."),
        ("input.start=newest", "input.start is 'newest', from --set. It must be one of earliest, latest."),
        (
            "input.topic=a b",
            "input.topic is 'a b', from --set. It must be a topic's name: 1 to 249 letters, digits, '.', '_' and '-'.",
        ),
        (
            "output.topic=",
            "output.topic is '', from --set. It must be a topic's name: 1 to 249 letters, digits, '.', '_' and '-'.",
        ),
        ("kafka.group_id=", "kafka.group_id is '', from --set. It must be text that is not empty."),
        (
            "kafka.bootstrap_servers=a:1,,b:2",
            "kafka.bootstrap_servers is 'a:1,,b:2', from --set. "
            "It must be host:port of one broker, or of several with commas between.",
        ),
        (
            "model.artifact=",
            "model.artifact is '', from --set. It must be the path of a directory, not the working directory.",
        ),
        (
            "http.listen=9108",
            "http.listen is '9108', from --set. It must be host:port with a port from 0 (any free one) to 65535, "
            "as in 127.0.0.1:9108.",
        ),
        ("log.level=trace", "log.level is 'trace', from --set. It must be one of debug, info, warning, error."),
        ("log.format=xml", "log.format is 'xml', from --set. It must be one of auto, console, json."),
    ],
)
def test_wrong_values_are_told(override: str, expected: str) -> None:
    error = refusal(override)
    assert f"{error.fact} {error.cause}" == expected


def test_every_setting_refuses_a_wrong_value_with_what_it_accepts() -> None:
    """No setting takes a list, and each says what it does take. Proves that no field was left out of the words."""
    for name in fields():
        section, _, field = name.partition(".")
        error = refusal(file=f"[{section}]\n{field} = [1]\n")
        assert error.fact == f"{name} is [1], from given.toml."
        assert error.cause == f"It must be {allowed(name)}."


NEAREST = {
    "processing.commit_interval": "processing.commit_interval_seconds",
    "procesing.guarantee": "processing.guarantee",
    "state.memory": "state.memory_mib",
    "processing.gap_seconds": "sequence.gap_seconds",
    "ouput.topic": "output.topic",
    "deadletter.topic": "dead_letter.topic",
    "kafka.propertys": "kafka.properties",
    "bootstrap_servers": "kafka.bootstrap_servers",
}


@pytest.mark.parametrize("name", NEAREST)
def test_unknown_names_are_refused_with_the_nearest_known(name: str) -> None:
    section, _, field = name.rpartition(".")
    found = [
        refusal(f"{name}=1"),
        refusal(file=f"[{section}]\n{field} = 1\n" if section else f"{field} = 1\n"),
    ]
    if section:  # a variable without two underscores is none of ours
        found.append(refusal(environ={"PROCESSOR_" + name.replace(".", "__").upper(): "1"}))
    for error in found:
        assert error.fact == f"There is no setting {name!r}."
        assert error.hint == f"Did you mean {NEAREST[name]}?"


def test_an_unknown_name_with_no_neighbour_names_the_schema() -> None:
    assert "config schema" in refusal("xyzzy.plugh=1").hint


def test_a_section_has_no_value() -> None:
    assert refusal(file="kafka = 1").fact == "kafka, from given.toml, is a section and has no value."
    assert refusal("kafka=1").fact == "kafka, from --set, is a section and has no value."


def test_a_set_without_a_value_is_refused() -> None:
    assert refusal("state.memory_mib").fact == "--set state.memory_mib has no value."


def test_variables_of_others_are_left_alone_and_a_missed_underscore_is_not() -> None:
    load(environ={"PROCESSOR_SERVICE_HOST": "10.0.0.1", "PROCESSOR_PORT_9108_TCP": "x", "PROCESSOR_FAILPOINTS": ""})
    error = refusal(environ={"PROCESSOR_KAFKA_GROUP_ID": "g"})
    assert error.hint == "Call it PROCESSOR_KAFKA__GROUP_ID."


def test_all_problems_are_told_at_once() -> None:
    error = refusal("state.memory_mib=1", "no.such=1", "log.level=x", file="[input]\ntopik = 1\n")
    text = str(error)
    assert error.fact == "4 settings are wrong."
    for name in ("state.memory_mib is 1", "'no.such'", "log.level is 'x'", "Did you mean input.topic?"):
        assert name in text


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["processing.commit_interval_seconds=5"],
            "transaction.timeout.ms is 10000, and a transaction may last 10000 ms.",
        ),
        (
            ["kafka.producer.transaction.timeout.ms=5100"],
            "transaction.timeout.ms is 5100, and a transaction may last 5100 ms.",
        ),
        (
            ["kafka.properties.transaction.timeout.ms=4000"],
            "transaction.timeout.ms is 4000, and a transaction may last 5100 ms.",
        ),
        (["kafka.consumer.session.timeout.ms=1000"], "session.timeout.ms is 1000, heartbeat.interval.ms is 1000."),
        (["kafka.consumer.max.poll.interval.ms=9999"], "max.poll.interval.ms is 9999, session.timeout.ms is 10000."),
        (["kafka.consumer.session.timeout.ms=soon"], "kafka.consumer sets session.timeout.ms to 'soon'."),
        (["output.topic=samples"], "input.topic and output.topic are 'samples'."),
        (["dead_letter.topic=probabilities"], "output.topic and dead_letter.topic are 'probabilities'."),
        (["state.changelog_topic=samples"], "input.topic and state.changelog_topic are 'samples'."),
        (["kafka.group_id=x", "input.topic=x-changelog"], "input.topic and state.changelog_topic are 'x-changelog'."),
        (
            ["output.topic=samples", "dead_letter.topic=samples"],
            "input.topic and output.topic and dead_letter.topic are all 'samples'.",
        ),
        (["input.topic=.."], "input.topic is '..'."),
        (["kafka.group_id=my group"], "The changelog topic's name would be 'my group-changelog', which is none."),
        (
            ["kafka.properties.group.protocol=consumer", "kafka.consumer.session.timeout.ms=6000"],
            "kafka.consumer sets session.timeout.ms together with group.protocol=consumer.",
        ),
    ],
)
def test_relations_between_settings(overrides: list[str], told: str) -> None:
    assert refusal(*overrides).fact == told


@pytest.mark.parametrize(
    "overrides",
    [
        ["processing.commit_interval_seconds=4.9"],
        ["processing.commit_interval_seconds=60", "processing.guarantee=at_least_once"],
        ["processing.commit_interval_seconds=60", "kafka.producer.transaction.timeout.ms=70000"],
        ["kafka.group_id=my group", "state.changelog_topic=c"],
        ["kafka.properties.group.protocol=consumer"],
    ],
)
def test_relations_that_hold(overrides: list[str]) -> None:
    load(*overrides)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for content, told in ((b"topic = samples", "is not TOML"), (b"\xff\xfe", "cannot be read")):
        (tmp_path / "p.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=told):
            load_settings(tmp_path / "p.toml", {}, [])
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, {}, [])
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(tmp_path / "other.toml", {}, [])


SECRETS = [
    "sasl.password",
    "ssl.key.pem",
    "ssl.key.password",
    "sasl.oauthbearer.client.secret",
    "sasl.jaas.config",
    "x.token",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_never_shown(name: str) -> None:
    environ = {f"PROCESSOR_KAFKA__PROPERTIES__{name.replace('.', '_').upper()}": "hunter2"}
    loaded = load_settings(None, environ, [])
    assert loaded.settings.kafka.properties == {name: "hunter2"}
    assert "hunter2" not in str(shown(loaded))
    assert "hunter2" not in str(refusal(file=f'[kafka.properties]\n"{name}" = ["hunter2"]\n'))


def test_what_is_no_secret_is_shown() -> None:
    assert "SASL_SSL" in str(shown(load_settings(None, {}, ["kafka.properties.security.protocol=SASL_SSL"])))


def test_each_setting_has_one_line_of_documentation_in_the_schema() -> None:
    schema = settings_schema()
    for section, model in sections().items():
        assert schema["properties"][section]["$ref"].endswith(model.__name__)
        for name, field in schema["$defs"][model.__name__]["properties"].items():
            assert field["description"], f"{section}.{name}"
            assert "\n" not in field["description"], f"{section}.{name}"


def test_the_schema_accepts_what_is_accepted() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(settings_schema())
    validator = Draft202012Validator(settings_schema())
    validator.validate(tomllib.loads(DEFAULTS))
    document: dict[str, Any]
    for document in ({"no": {}}, {"state": {"memory_mib": 7}}, {"input": {"format": "avro"}}, {"state": {"memory": 8}}):
        assert list(validator.iter_errors(document)), document


@pytest.mark.parametrize(
    ("text", "address"),
    [("localhost:0", ("localhost", 0)), ("0.0.0.0:65535", ("0.0.0.0", 65535)), ("[::]:80", ("::", 80))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":1", "a", "a:", "a:b", "a:65536", "a:-1", "::1:80", "[a:1", "[a]:1", "a:²", "a b:1", "http://a:1"]
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"not host:port|no such port"):
        parse_address(text)


@given(st.text())
def test_any_text_passes_through_set_as_it_is(text: str) -> None:
    loaded = load_settings(None, {}, [f"kafka.group_instance_id={text}", f"kafka.consumer.client.rack={text}"])
    assert loaded.settings.kafka.group_instance_id == text
    assert loaded.settings.kafka.consumer == {"client.rack": text}


@given(st.floats(min_value=0, max_value=1e12), st.integers(min_value=8, max_value=2**62), st.booleans())
def test_any_legal_number_passes_through_set_and_environment(seconds: float, mib: int, flag: bool) -> None:
    values: dict[str, Any] = {
        "sequence.gap_seconds": seconds,
        "state.memory_mib": mib,
        "processing.accept_gap": flag,
    }
    texts = {name: str(value).lower() if isinstance(value, bool) else repr(value) for name, value in values.items()}
    by_set = load_settings(None, {}, [f"{name}={text}" for name, text in texts.items()]).settings
    variables = {f"PROCESSOR_{name.replace('.', '__').upper()}": text for name, text in texts.items()}
    assert by_set == load_settings(None, variables, []).settings
    assert by_set.sequence.gap_seconds == seconds
    assert (by_set.state.memory_mib, by_set.processing.accept_gap) == (mib, flag)


@given(st.text(), st.sampled_from(["state.memory_mib", "processing.accept_gap", "sequence.gap_seconds", "http.listen"]))
def test_any_text_is_a_value_or_a_refusal(text: str, name: str) -> None:
    """Nothing that is typed ends in a traceback."""
    told = ""
    try:
        load_settings(None, {}, [f"{name}={text}"])
    except ConfigError as error:
        told = error.fact
    assert told == "" or told.startswith(f"{name} is ")
