import inspect
import json
import pickle
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Lt, MinLen, MultipleOf
from hypothesis import given
from hypothesis import strategies as st

from gfp_bench.contracts.settings import (
    Configurable,
    Setting,
    SettingFacts,
    described_settings,
    parse_spec,
    resolved_settings,
)
from gfp_bench.errors import PluginError, SettingError, UsageError


class Plugin:
    name = "plugin"

    def __init__(
        self,
        size: int = 8,
        rate: float = 1,
        soft: bool = False,
        space: Literal["rgb", "freq"] = "rgb",
        limit: int | None = None,
        note: str = "",
    ) -> None: ...


DEFAULTS = {"limit": None, "note": "", "rate": 1.0, "size": 8, "soft": False, "space": "rgb"}
words = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1)


@given(words, st.dictionaries(words, words))
def test_a_spec_is_read_as_it_was_written(name: str, settings: dict[str, str]) -> None:
    written = f"{name}[{','.join(f'{key}={value}' for key, value in settings.items())}]"
    assert parse_spec(written) == (name, settings)


def test_a_spec_may_be_a_name_and_may_have_spaces() -> None:
    assert parse_spec("knn") == ("knn", {})
    assert parse_spec(" knn[ k = 3 , ] ") == ("knn", {"k": "3"})


@pytest.mark.parametrize("spec", ["", "knn[", "knn]", "knn[k=3", "knn[k]", "knn[=3]", "knn[k=3,k=4]", "[k=3]", "a b"])
def test_a_malformed_spec_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        parse_spec(spec)


def test_defaults_are_resolved_in_sorted_order() -> None:
    resolved = resolved_settings(Plugin, {})
    assert resolved == DEFAULTS and list(resolved) == sorted(DEFAULTS)
    assert type(resolved["rate"]) is float  # so that 1 and 1.0 are one row
    assert json.loads(json.dumps(resolved)) == resolved


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "12", 12),
        ("rate", "1e-3", 0.001),
        ("soft", "True", True),
        ("soft", "false", False),
        ("space", "freq", "freq"),
        ("limit", "none", None),
        ("limit", "3", 3),
        ("note", "none", "none"),
        ("note", "12", "12"),
    ],
)
def test_text_becomes_the_type_of_its_parameter(name: str, text: str, value: Setting) -> None:
    resolved = resolved_settings(Plugin, {name: text})
    assert resolved == DEFAULTS | {name: value} and type(resolved[name]) is type(value)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "size": st.integers(),
            "rate": st.floats(allow_nan=False, allow_infinity=False),
            "soft": st.booleans(),
            "limit": st.none() | st.integers(0, 9),
        },
    )
)
def test_values_and_their_text_resolve_alike(settings: dict[str, Setting]) -> None:
    resolved = resolved_settings(Plugin, settings)
    assert resolved == DEFAULTS | settings
    assert resolved_settings(Plugin, {name: str(value) for name, value in settings.items()}) == resolved


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", "1.5", "int"),
        ("size", True, "int"),
        ("size", 1.0, "int"),
        ("rate", "nan", "float"),
        ("rate", float("inf"), "float"),
        ("soft", 1, "bool"),
        ("soft", "yes", "bool"),
        ("space", "hsv", "'rgb' or 'freq'"),
        ("limit", "many", "int or None"),
        ("note", None, "str"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(name: str, value: Setting, expected: str) -> None:
    with pytest.raises(UsageError, match=f"setting '{name}' of 'plugin' got .*{value}.*, expected {expected}$"):
        resolved_settings(Plugin, {name: value})


def test_an_unknown_setting_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown plugin setting 'spce'; did you mean 'space'"):
        resolved_settings(Plugin, {"spce": "rgb"})


class Untyped:
    def __init__(self, size=8): ...  # type: ignore[no-untyped-def]


class Needy:
    def __init__(self, size: int) -> None: ...


class Listed:
    def __init__(self, sizes: list[int] = [8]) -> None: ...  # noqa: B006 - what the test is about


class Mistyped:
    def __init__(self, size: int = 0.5) -> None: ...  # type: ignore[assignment]


class Open:
    def __init__(self, **settings: int) -> None: ...


class Noted:
    def __init__(self, title: Annotated[str, "of a board", MinLen(3)] = "board") -> None: ...


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (Untyped, "'size' of 'Untyped' has no annotation"),
        (Needy, "'size' of 'Needy' has no default"),
        (Listed, "'sizes' of 'Listed' has the type list"),
        (Mistyped, "'size' of 'Mistyped' has the default 0.5, expected int"),
        (Open, "'settings' of 'Open' has no name of its own"),
        (Noted, r"'title' of 'Noted' has the note MinLen.*, expected text or a bound of annotated_types: Gt, Ge, "),
    ],
)
def test_a_signature_that_breaks_the_contract_is_named(cls: type, problem: str) -> None:
    with pytest.raises(PluginError, match=problem):
        resolved_settings(cls, {})


class Bounded(Configurable):
    name = "bounded"

    def __init__(
        self,
        share: Annotated[float, "part of a side", Interval(ge=0, le=1)] = 0.5,
        count: Annotated[int | None, "of images; none: all", Gt(0)] = None,
        kind: Annotated[Literal["a", "b"] | float, "by name or number", Lt(5)] = "a",
    ) -> None:
        self.share, self.count, self.kind = share, count, kind


class Derived(Bounded):
    pass


class Ordered(Configurable):
    name = "ordered"

    def __init__(
        self,
        low: Annotated[int, "in pixels", Ge(4), MultipleOf(4)] = 4,
        *,
        high: Annotated[int, "likewise"] = 8,
    ) -> None:
        if low > high:
            raise ValueError(f"low={low} is above high={high}")
        self.low, self.high = low, high


class Renamed(Ordered):
    name = "renamed"


class Wider(Ordered):
    name = "wider"

    def __init__(self, side: Annotated[int, "in pixels"] = 4) -> None:
        super().__init__(side, high=2 * side)
        self.side = side


class Bare(Configurable):
    name = "bare"


@pytest.mark.parametrize("cls", [Bounded, Derived])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 1.5}, "setting 'share' of 'bounded' got 1.5, expected float from 0 to 1$"),
        ({"count": 0}, "setting 'count' of 'bounded' got 0, expected int above 0 or None$"),
        ({"kind": 5.0}, "got 5.0, expected 'a' or 'b' or float below 5$"),
        ({"kind": "c"}, "got 'c', expected 'a' or 'b' or float below 5$"),
        ({"cuont": 3}, "unknown bounded setting 'cuont'; did you mean 'count'"),
    ],
)
def test_settings_are_checked_in_python_as_on_the_command_line(
    cls: type[Bounded], settings: dict[str, Setting], message: str
) -> None:
    for make in (lambda: cls(**settings), lambda: resolved_settings(cls, settings)):  # type: ignore[arg-type]
        with pytest.raises(SettingError, match=message) as caught:
            make()
        assert isinstance(caught.value, UsageError) and isinstance(caught.value, ValueError)


def test_bounds_hold_for_numbers_alone_and_include_their_ends() -> None:
    made = Bounded(1.0, count=None, kind="b")
    assert (made.share, made.count, made.kind) == (1.0, None, "b")
    assert Bounded(share=0).share == 0.0
    assert type(Bounded(share=0).share) is float


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (Ordered, {"low": 6}, "setting 'low' of 'ordered' got 6, expected int at least 4 and a multiple of 4$"),
        (Ordered, {"low": 12}, "^'ordered': low=12 is above high=8$"),
        (Renamed, {"low": 6}, "setting 'low' of 'renamed' got 6"),
        (Renamed, {"low": 12}, "^'renamed': low=12 is above high=8$"),
        (Wider, {"low": 4}, "unknown wider setting 'low'"),
        (Wider, {"side": 2}, "setting 'low' of 'wider' got 2"),
        (Bare, {"low": 4}, "unknown bare setting 'low'; known: none"),
    ],
)
def test_whatever_refuses_a_setting_names_the_plugin_that_was_asked_for(
    cls: type, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        cls(**settings)


def test_a_plugin_that_refuses_its_own_defaults_is_at_fault() -> None:
    class Fussy(Ordered):
        def __init__(self, side: Annotated[int, "in pixels"] = 4) -> None:
            raise ValueError("no side is good enough")

    for make in (Fussy, lambda: Fussy(side=4)):
        with pytest.raises(PluginError, match=r"^'ordered' refuses its own defaults: no side is good enough$"):
            make()
    with pytest.raises(SettingError, match=r"^'ordered': no side is good enough$"):
        Fussy(side=8)


def test_an_inherited_init_works_as_ever() -> None:
    assert (Wider(8).side, Wider(8).low, Wider(8).high) == (8, 8, 16)
    assert vars(Renamed(8)) == {"low": 8, "high": 8}
    assert list(inspect.signature(Bare).parameters) == []
    assert isinstance(Bare(), Bare)


def test_python_refuses_a_setting_that_is_given_twice_or_in_no_place() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        Ordered(4, 8)  # type: ignore[misc]
    with pytest.raises(TypeError, match="multiple values for argument 'share'"):
        Bounded(0.5, share=0.5)  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional arguments"):
        Bounded(0.5, 1, "a", 4)  # type: ignore[call-arg]


def test_a_checked_class_keeps_its_signature_and_is_pickled() -> None:
    assert list(inspect.signature(Bounded).parameters) == ["share", "count", "kind"]
    assert vars(pickle.loads(pickle.dumps(Bounded(0.25)))) == {"share": 0.25, "count": None, "kind": "a"}


def test_settings_are_described() -> None:
    facts = described_settings(Bounded)
    assert facts[0] == SettingFacts("share", 0.5, "float from 0 to 1", "part of a side")
    assert facts[1] == SettingFacts("count", None, "int above 0 or None", "of images; none: all")
    assert [one.name for one in described_settings(Plugin)] == list(inspect.signature(Plugin).parameters)
    assert {one.explanation for one in described_settings(Plugin)} == {""}


def test_a_default_out_of_bounds_is_the_plugins_fault() -> None:
    class Wrong:
        def __init__(self, share: Annotated[float, "part", Interval(ge=0, le=1)] = 2.0) -> None: ...

    with pytest.raises(PluginError, match=r"has the default 2\.0, expected float from 0 to 1"):
        resolved_settings(Wrong, {})
