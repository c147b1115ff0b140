"""The features of a GenICam camera by their names (SFNC), with the types and bounds that the camera tells."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from linewatch.capture.genicam.library import aravis, glib_error, reason
from linewatch.contracts.errors import ConfigError, SourceError

FeatureValue = bool | int | float | str
"""As in TOML: true or false, a whole number, a number, an entry of an enumeration or a text."""

_SELECTED: Final = re.compile(r"(\w+)\[(\w+)=(\w+)\]")
_TYPES: Final = {
    "enumeration": "one of its entries",
    "boolean": "true or false",
    "integer": "a whole number",
    "float": "a number",
    "string": "a text",
    "command": "true, which carries it out",
}
_RELATIVE_ROUNDING: Final = 0.01
"""A camera rounds a number to a step that it has; what differs by more was not set."""


@dataclass(frozen=True, slots=True)
class CameraFeature:
    """One feature as the camera tells it now.

    type: see `_TYPES`, or "register" for what has no value to show. low, high: bounds of a number, None where the
    camera tells none. entries: of an enumeration, those that can be chosen now. access: RO, WO, RW or NA.
    """

    name: str
    category: str
    type: str
    value: FeatureValue | None
    access: str
    low: float | None = None
    high: float | None = None
    entries: tuple[str, ...] = ()
    unit: str = ""
    about: str = ""

    @property
    def bounds(self) -> str:
        """What the feature can be set to, in words."""
        if self.entries:
            return f"one of {', '.join(self.entries)}"
        if self.low is None or self.high is None:
            return _TYPES.get(self.type, "")
        return f"{_number(self.low)} to {_number(self.high)} {self.unit}".strip()


class CameraFeatures:
    """Reads and sets features of one opened camera. A refusal says what was found, what was expected and a remedy."""

    def __init__(self, device: Any, whose: str) -> None:
        """whose: the camera's name, for errors."""
        self._aravis, self._error = aravis(), glib_error()
        self._device, self._whose = device, whose

    def release(self) -> None:
        """Release the camera, even if an error still holds a reference to this object."""
        self._device = None

    def has(self, name: str) -> bool:
        """Return whether the camera has the feature, and it can be used as the camera is set now."""
        try:
            return bool(self._device.is_feature_available(name))
        except self._error:
            return False

    def first_of(self, *names: str) -> str | None:
        """Return the first name that the camera has: vendors name some features in several ways."""
        return next((name for name in names if self.has(name)), None)

    def names(self) -> list[str]:
        """Return the names of all features, in the camera's order."""
        return [name for _, name in self._walk("Root", "")]

    def all(self) -> list[CameraFeature]:
        """Return all features that can be used now, in the camera's order."""
        found = (self._described(name, category) for category, name in self._walk("Root", ""))
        return [one for one in found if one is not None and one.access != "NA"]

    def describe(self, name: str) -> CameraFeature:
        """Return a feature as it is now. Raises ConfigError where the camera has no such feature."""
        found = self._described(name, "")
        if found is None:
            near = get_close_matches(name, self.names(), 3, 0.6)
            hint = f"the nearest are {', '.join(near)}" if near else "it has none that is similar"
            raise ConfigError(
                f"{self._whose} has no feature {name}: {hint}; expected a name that `linewatch cameras show` lists; "
                "correct it in [source.features]"
            )
        return found

    def get(self, name: str) -> FeatureValue | None:
        """Return a feature's value. Raises ConfigError where the camera has no such feature."""
        return self.describe(name).value

    def set(self, key: str, value: FeatureValue, setting: str) -> None:
        """Set a feature and read it back. key: its name, or `Name[Selector=Entry]`. setting: what names it, for errors.

        Raises ConfigError where it does not exist, is of another type or out of bounds, SourceError where the camera
        does not take it now.
        """
        if (selected := _SELECTED.fullmatch(key)) is not None:
            name, selector, entry = selected.groups()
            self.set(selector, entry, setting)
        else:
            name = key
        feature = self.describe(name)
        if feature.access not in {"RW", "WO"}:
            raise SourceError(
                f"{setting} = {_told(value)}: {name} of {self._whose} cannot be written now (access {feature.access}), "
                "expected one that can; another feature may lock it, or the camera decides it by itself"
            )
        self._refuse_unfit(feature, value, setting)
        try:
            self._write(feature, value)
            now = None if feature.type == "command" else self._value_if_readable(feature.name, feature.type)
        except self._error as error:
            raise SourceError(
                f"{setting} = {_told(value)}: {self._whose} refused it ({reason(error)}), expected "
                f"{feature.bounds}; correct the setting"
            ) from error
        if now is not None and not _same(now, value):
            raise ConfigError(
                f"{setting} = {_told(value)}: {self._whose} took {_told(now)} instead; set what it takes, "
                f"or what makes it give way ({feature.bounds})"
            )

    def _refuse_unfit(self, feature: CameraFeature, value: FeatureValue, setting: str) -> None:
        fits = {
            "enumeration": isinstance(value, str),
            "string": isinstance(value, str),
            "boolean": isinstance(value, bool),
            "command": value is True,
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
        }.get(feature.type, False)
        whose = f"{feature.name} of {self._whose}"
        if not fits:
            raise ConfigError(
                f"{setting} = {_told(value)}: {whose} is a feature of type {feature.type}, expected "
                f"{_TYPES.get(feature.type, 'no value')}; correct the setting"
            )
        outside = isinstance(value, int | float) and not isinstance(value, bool) and not (
            (feature.low is None or feature.low <= value) and (feature.high is None or value <= feature.high)
        )  # fmt: skip
        if outside or (feature.type == "enumeration" and value not in feature.entries):
            raise ConfigError(
                f"{setting} = {_told(value)}: {whose} expects {feature.bounds or 'no value'}; correct the setting"
            )

    def _write(self, feature: CameraFeature, value: FeatureValue) -> None:
        device, name = self._device, feature.name
        match feature.type:
            case "command":
                device.execute_command(name)
            case "boolean":
                device.set_boolean_feature_value(name, value)
            case "integer":
                device.set_integer_feature_value(name, value)
            case "float":
                device.set_float_feature_value(name, float(value))
            case _:
                device.set_string_feature_value(name, value)

    def _walk(self, category: str, path: str) -> Iterator[tuple[str, str]]:
        """Yield (category, name) of every feature below a category."""
        node = self._device.get_feature(category)
        for name in node.get_features() if isinstance(node, self._aravis.GcCategory) else ():
            if isinstance(self._device.get_feature(name), self._aravis.GcCategory):
                yield from self._walk(name, name)
            else:
                yield path, name

    def _described(self, name: str, category: str) -> CameraFeature | None:
        node = self._device.get_feature(name)
        if not isinstance(node, self._aravis.GcFeatureNode) or isinstance(node, self._aravis.GcCategory):
            return None
        kind, value = self._type(node), None
        low = high = None
        entries: tuple[str, ...] = ()
        try:
            access = _ACCESS.get(int(self._device.get_feature_access_mode(name)), "NA")
            if not node.is_available():
                access = "NA"
            if access != "NA" and kind not in {"command", "register"}:
                value = self._value_if_readable(name, kind)
                if access == "WO" and value is not None:
                    access = "RW"  # Aravis 0.8.26 gives "WO" for registers that it reads
            if access != "NA" and kind == "enumeration":
                entries = tuple(self._device.dup_available_enumeration_feature_values_as_strings(name))
            if access != "NA" and kind in {"integer", "float"}:
                low, high = self._number_bounds(name, kind)
        except self._error:
            access = "NA"
        return CameraFeature(
            name, category, kind, value, access, low, high, entries, self._unit(node), node.get_tooltip() or ""
        )

    def _type(self, node: Any) -> str:
        a = self._aravis
        kinds = (
            ("enumeration", a.GcEnumeration),  # which is an integer as well
            ("boolean", a.GcBoolean),
            ("command", a.GcCommand),
            ("float", a.GcFloat),
            ("integer", a.GcInteger),
            ("string", a.GcString),
        )
        return next((kind for kind, one in kinds if isinstance(node, one)), "register")

    def _value_if_readable(self, name: str, kind: str) -> FeatureValue | None:
        try:
            return self._value(name, kind)
        except self._error:
            return None

    def _value(self, name: str, kind: str) -> FeatureValue:
        device = self._device
        match kind:
            case "boolean":
                return bool(device.get_boolean_feature_value(name))
            case "integer":
                return int(device.get_integer_feature_value(name))
            case "float":
                return float(device.get_float_feature_value(name))
        return str(device.get_string_feature_value(name))

    def _number_bounds(self, name: str, kind: str) -> tuple[float | None, float | None]:
        read = self._device.get_integer_feature_bounds if kind == "integer" else self._device.get_float_feature_bounds
        low, high = read(name)
        unbounded = 2.0**62
        return (low if low > -unbounded else None), (high if high < unbounded else None)

    def _unit(self, node: Any) -> str:
        try:
            return str(node.get_unit() or "")
        except (AttributeError, TypeError, self._error):
            return ""


_ACCESS: Final = {0: "RO", 1: "WO", 2: "RW"}


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _told(value: FeatureValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else _number(value)


def _same(now: FeatureValue, wanted: FeatureValue) -> bool:
    if isinstance(now, float) and isinstance(wanted, int | float):
        return abs(now - wanted) <= _RELATIVE_ROUNDING * max(abs(wanted), 1e-9)
    return now == wanted
