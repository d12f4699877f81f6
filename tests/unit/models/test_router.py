import random
import socket
import threading
import time
from dataclasses import dataclass, replace

import pytest
from small_weights import put_in_folder

from whisper_lambda.errors import EngineFailed, ModelCorrupt, ModelUnavailable, UnknownModel
from whisper_lambda.models.hub import Hub
from whisper_lambda.models.router import Router
from whisper_lambda.models.store import Store
from whisper_lambda.types import ModelChoice

MB = 1_000_000


@dataclass
class LoadedEngine:
    """All a router asks of an engine: what it costs and that it can be closed."""

    text: str
    memory_bytes: int
    closed: bool = False

    @property
    def version(self) -> str:
        return self.text

    def close(self) -> None:
        self.closed = True


class Loader:
    """Counts what is loaded, and can be slow or fail."""

    def __init__(self, memory_bytes: int = MB, delay_s: float = 0.0) -> None:
        self.loaded: list[str] = []
        self.engines: list[LoadedEngine] = []
        self.memory_bytes = memory_bytes
        self.delay_s = delay_s
        self.failures = 0

    def __call__(self, installed) -> LoadedEngine:
        time.sleep(self.delay_s)
        self.loaded.append(installed.name)
        if self.failures:
            self.failures -= 1
            raise EngineFailed("the weights would not load")
        self.engines.append(LoadedEngine(text=installed.name, memory_bytes=self.memory_bytes))
        return self.engines[-1]


@pytest.fixture
def load():
    return Loader()


@pytest.fixture
def having(operators, published, load):
    """Make a router whose folder holds the given tiers and nothing else can be had."""
    routers = []

    def make(*tiers, **changes):
        for tier in tiers:
            put_in_folder(operators.model_dir, tier, published)
        routers.append(Router(replace(operators, **changes), load))
        return routers[-1]

    yield make
    for router in routers:
        router.close()


def served(router, model=None) -> ModelChoice:
    with router.engine(model) as (engine, choice):
        assert engine.text == choice.served
    return choice


def test_the_wish_is_served_without_a_reason_where_it_can_be_had(having):
    assert served(having("small", "base")) == ModelChoice("small", "small", "")


@pytest.mark.parametrize(
    ("here", "wish", "expected", "which"),
    [
        (("tiny", "base", "medium"), "small", "base", "nearest smaller"),
        (("medium", "large-v3"), "small", "medium", "nearest larger"),
        (("tiny", "large-v3"), "small", "tiny", "nearest smaller"),
        (("tiny.en", "base.en", "large-v2"), "small", "large-v2", "nearest larger"),
        (("tiny.en", "base"), "base.en", "base", "nearest smaller"),
        (("small",), "large", "small", "nearest smaller"),
    ],
)
def test_another_tier_answers_and_says_so(having, here, wish, expected, which):
    choice = served(having(*here), wish)

    assert choice.served == expected
    assert choice.reason.endswith(f"; {expected} is the {which} tier that can be had")
    assert "is not in the store, the hub is switched off" in choice.reason


def test_choosing_says_what_serving_would_and_loads_nothing(having, load):
    router = having("base")
    choice = router.choose("small")

    assert load.loaded == []
    assert choice.served == "base"
    assert choice == served(router, "small")


def test_a_router_is_ready_when_a_model_is_loaded_and_not_before(having, load):
    router = having("base")
    seen = []
    first = router._load
    router._load = lambda installed: seen.append((router.loaded, router.ready)) or first(installed)
    served(router, "base")

    assert seen == [(True, False)]
    assert router.ready


def test_a_tier_that_was_pulled_meanwhile_answers_from_then_on(having, operators, published):
    router = having("base")
    assert served(router).served == "base"
    put_in_folder(operators.model_dir, "small", published)

    assert served(router) == ModelChoice("small", "small")


def test_while_a_stand_in_is_loaded_no_request_waits_for_a_network(operators, published):
    """The hub came back: the next request must not fetch half a gigabyte."""
    asked = []

    class CountingHub(Hub):
        def listing(self, tier):
            asked.append(tier.name)
            return super().listing(tier)

    put_in_folder(operators.model_dir, "base", published)
    router = Router(operators, Loader(), store=Store(operators, hub=CountingHub(operators)))
    first = served(router)
    before = list(asked)
    second = served(router)
    router.close()

    assert "small" in before
    assert asked == before
    assert first == second


def test_a_hub_that_never_answers_delays_one_request_by_one_time_out_and_no_other(operators, published):
    put_in_folder(operators.model_dir, "base", published)
    waits = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = replace(operators, hub=True, hub_endpoint=endpoint, hub_timeout_s=0.5)
        for router in (Router(settings, Loader()), Router(settings, Loader())):  # the second: another start
            for _ in range(2):
                started = time.monotonic()
                assert served(router).served == "base"
                waits.append(time.monotonic() - started)
            router.close()

    assert waits[0] < 1.5
    assert max(waits[1:]) < 0.3


def test_english_only_is_never_served_for_a_wish_of_more_languages(having, load):
    router = having("tiny.en", "base.en", "small.en")

    for attempt in (router.choose, lambda: served(router)):
        with pytest.raises(ModelUnavailable, match="nor can any tier"):
            attempt()
    assert load.loaded == []


@pytest.mark.parametrize(
    ("aliases", "model", "expected"),
    [
        ({"internal": "default"}, "internal", "small"),
        ({"internal": "default"}, None, "small"),
        ({"internal": "default"}, "default", "small"),
        ({"whisper-1": "internal", "internal": "base"}, "whisper-1", "base"),
        ({"small": "base"}, "small", "base"),
    ],
)
def test_aliases_lead_to_tiers(having, aliases, model, expected):
    assert served(having("small", "base", aliases=aliases), model) == ModelChoice(expected, expected)


def test_the_default_may_be_an_alias(having):
    router = having("base", model="house", aliases={"house": "base"})

    assert served(router).served == "base"


@pytest.mark.parametrize("aliases", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "default"}])
def test_an_alias_that_leads_in_a_circle_is_refused(having, aliases):
    router = having("base", model="a", aliases=aliases)

    with pytest.raises(UnknownModel, match="circle"):
        router.choose("a")


@pytest.mark.parametrize("model", ["", "smal", "../own/base", "./base", "/", "x\0y", "base/"])
def test_a_name_from_a_request_is_a_tier_an_alias_or_a_plain_folder_name(having, model):
    with pytest.raises(UnknownModel):
        having("base").choose(model)


def test_a_path_from_the_settings_is_a_folder_of_the_operators_own(having, published):
    router = having(model=str(published))
    with router.engine() as (engine, choice):
        assert engine.text.startswith("folder-wee")
        assert choice == ModelChoice("wee", "wee")

    with pytest.raises(UnknownModel):
        router.choose(str(published))


def test_a_plain_name_in_the_operators_folder_is_a_model(having, published, operators):
    router = having()
    (operators.model_dir / "ours").symlink_to(published)

    assert router.choose("ours") == ModelChoice("ours", "ours")


def test_a_path_that_is_not_there_is_not_replaced_by_a_tier(having, tmp_path):
    router = having("base", model=str(tmp_path / "gone"))

    with pytest.raises(ModelUnavailable, match="does not exist"):
        router.choose()


def test_eight_threads_that_ask_at_once_cause_one_load(having, load):
    router = having("base")
    load.delay_s = 0.1
    together = threading.Barrier(8)
    got = []

    def ask():
        together.wait()
        with router.engine("base") as (engine, _):
            got.append(engine)

    in_threads(ask)

    assert load.loaded == ["base"]
    assert [id(e) for e in got] == [id(load.engines[0])] * 8


def test_a_failed_load_is_told_to_all_who_wait_and_tried_again_by_the_next(having, load):
    router = having("base")
    load.delay_s, load.failures = 0.1, 1
    together = threading.Barrier(8)
    outcomes = []

    def ask():
        together.wait()
        try:
            with router.engine("base"):
                outcomes.append("served")
        except EngineFailed as failure:
            outcomes.append(str(failure))

    in_threads(ask)
    assert outcomes == ["the weights would not load"] * 8
    assert load.loaded == ["base"]

    assert served(router, "base").served == "base"


def in_threads(call, count=8) -> None:
    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_engines_stay_loaded_under_the_budget_and_the_oldest_use_leaves_first(having, load):
    router = having("tiny", "base", "small", models_memory_mb=2)
    for model in ("tiny", "base", "tiny", "small", "tiny", "base"):
        served(router, model)

    assert load.loaded == ["tiny", "base", "small", "base"]
    assert [e.text for e in load.engines if e.closed] == ["base", "small"]


def test_room_is_made_before_the_next_model_is_loaded(having, load):
    """Two models in memory at once is what the budget is there to prevent."""
    router = having("tiny", "base", models_memory_mb=1)
    served(router, "tiny")
    closed_before = []
    router._load = lambda installed: (closed_before.append(load.engines[0].closed), load(installed))[1]
    served(router, "base")

    assert closed_before == [True]


def test_an_engine_in_use_is_never_freed(having, load):
    router = having("tiny", "base", models_memory_mb=1)
    with router.engine("tiny") as (held, _):
        served(router, "base")
        assert not held.closed
        served(router, "base")
        assert not held.closed

    assert held.closed


def test_a_model_larger_than_the_budget_stays_while_nothing_else_is_wanted(having, load):
    router = having("base", models_memory_mb=0)
    served(router, "base")
    served(router, "base")

    assert load.loaded == ["base"]


def test_closing_frees_what_is_idle_at_once_and_what_is_in_use_later(having, load):
    router = having("tiny", "base")
    served(router, "tiny")
    with router.engine("base") as (held, _):
        router.close()
        assert [e.closed for e in load.engines] == [True, False]
    assert held.closed

    with pytest.raises(ModelUnavailable, match="closed"):
        served(router, "base")


def test_an_error_inside_the_call_gives_the_engine_back(having, load):
    router = having("tiny", "base", models_memory_mb=1)
    with pytest.raises(ZeroDivisionError), router.engine("tiny"):
        1 / 0  # noqa: B018
    served(router, "base")

    assert load.engines[0].closed


def test_many_threads_over_a_small_budget_always_hold_a_live_engine(having, load):
    router = having("tiny", "base", "small", models_memory_mb=2)
    wrong = []

    def ask(seed):
        wishes = random.Random(seed)
        for _ in range(40):
            model = wishes.choice(["tiny", "base", "small"])
            with router.engine(model) as (engine, choice):
                if engine.closed or choice.served != model:
                    wrong.append(model)

    seeds = iter(range(8))
    in_threads(lambda: ask(next(seeds)))

    assert wrong == []
    assert sum(not e.closed for e in load.engines) <= 2


def flip(file, at, bit) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ bit]))


def test_a_thousand_flipped_bytes_are_a_thousand_refusals(having, load, operators):
    """P16: a wrong model never loads, and no other tier is served in its place without a word."""
    router = having("base", "tiny")
    files = sorted((operators.model_dir / "base").iterdir())
    moments = random.Random(16)
    refused = 0
    for n in range(1000):
        file = files[n % len(files)]
        at, bit = moments.randrange(file.stat().st_size), 1 << moments.randrange(8)
        flip(file, at, bit)
        with pytest.raises(ModelCorrupt, match="nothing was loaded"), router.engine("base"):
            pass
        refused += 1
        flip(file, at, bit)

    assert refused == 1000
    assert load.loaded == []
    assert served(router, "base").served == "base"  # the control: unflipped, it loads


def test_a_corrupt_model_is_refused_and_not_replaced_in_silence(having, operators):
    router = having("small", "base")
    (operators.model_dir / "small" / "model.bin").write_bytes(b"x")

    with pytest.raises(ModelCorrupt, match=r"model\.bin"):
        served(router)


def steps(router, model="auto") -> tuple[list[str], ModelChoice]:
    with router.engine(model) as (engine, choice):
        return engine.version.split(": ")[1].split(" > "), choice


def test_auto_is_a_cascade_of_the_settings_tiers(having):
    router = having("tiny.en", "base", "small")

    assert steps(router) == (["tiny.en", "base"], ModelChoice("auto", "tiny.en+base"))
    assert router.choose("auto") == ModelChoice("auto", "tiny.en+base")


@pytest.mark.parametrize(
    "changes", [{"model": "auto"}, {"aliases": {"cheap": "auto"}}, {"aliases": {"cheap": "a", "a": "auto"}}]
)
def test_auto_may_be_the_default_or_an_alias(having, changes):
    router = having("tiny", "base", ladder=("tiny", "base"), **changes)

    assert steps(router, None if "model" in changes else "cheap")[1].served == "tiny+base"


def test_a_rung_that_cannot_be_had_is_stood_in_for_and_told(having):
    heard_by, choice = steps(having("tiny", "base", ladder=("tiny", "medium")))

    assert heard_by == ["tiny", "base"]
    assert choice.served == "tiny+base"
    assert choice.reason.startswith("base answers for medium: ")


def test_rungs_that_come_to_one_tier_are_one(having, load):
    heard_by, choice = steps(having("base", ladder=("base", "small")))

    assert (heard_by, choice.served, load.loaded) == (["base"], "base", ["base"])


@pytest.mark.parametrize("ladder", [("tiny.en", "auto"), ("tiny.en", "again"), ()])
def test_a_ladder_that_leads_to_itself_or_nowhere_is_refused(having, ladder):
    router = having("tiny.en", ladder=ladder, aliases={"again": "auto"})

    with pytest.raises(UnknownModel, match="the ladder of auto"):
        router.check("auto")


def test_a_misspelt_rung_is_refused_when_it_is_checked(having):
    with pytest.raises(UnknownModel, match="bass"):
        having("tiny.en", ladder=("tiny.en", "bass")).check("auto")
