"""Recipes and configurations after OPC 40100-1, clauses 7.2 and 7.5, for reading.

Recipes are files of the service, and Level 2 selects one by a coil's data: a client sees those that coils have had, and
cannot add, prepare or remove any. A configuration is the set of settings that applied to a coil, by its identity.
"""

from datetime import UTC, datetime
from typing import Any, Final

from asyncua import ua

from linewatch.plant.opcua.model import SYSTEM, Model, add_recipe
from linewatch.plant.opcua.results import DEFAULT_RECIPE

MOST_KNOWN = 100
_CONFIGURATIONS: Final = f"{SYSTEM}.ConfigurationManagement"
_RECIPES: Final = f"{SYSTEM}.RecipeManagement"
_FALSE, _TRUE = 0, 1  # TriStateBooleanDataType


class Configuration:
    """The recipes and configurations that coils have had since the bridge started, the newest last."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recipes: dict[str, str] = {}  # name -> identifier of its object
        self._configurations: dict[str, Any] = {}  # identity -> ua.ConfigurationDataType
        self._recipe, self._configuration = "", ""
        self._handles = 0

    async def link(self) -> None:
        """Answer the methods."""
        for owner, name, call in (
            (_CONFIGURATIONS, "GetConfigurationList", self._configuration_list),
            (_CONFIGURATIONS, "GetConfigurationById", self._configuration_by_id),
            (_CONFIGURATIONS, "ActivateConfiguration", _not_supported),
            (_RECIPES, "GetRecipeListFiltered", self._recipe_list),
            (_RECIPES, "PrepareRecipe", _not_supported),
            (_RECIPES, "UnprepareRecipe", _not_supported),
        ):
            await self._model.link(owner, name, call)

    async def show(self, recipe: str | None, configuration: str) -> None:
        """Show which recipe and configuration apply now."""
        recipe = recipe or DEFAULT_RECIPE
        if recipe != self._recipe:
            before, self._recipe = self._recipe, recipe
            if recipe not in self._recipes and len(self._recipes) < MOST_KNOWN:
                await self._add(recipe)
            for name in (before, recipe):
                if (at := self._recipes.get(name)) is not None:
                    await self._write(f"{at}.IsPrepared", ua.Variant(name == recipe, ua.VariantType.Boolean))
        if configuration and configuration != self._configuration:
            self._configuration = configuration
            if configuration not in self._configurations:
                self._configurations[configuration] = ua.ConfigurationDataType(
                    HasTransferableDataOnFile=False,
                    InternalId=ua.ConfigurationIdDataType(Id=configuration),
                    LastModified=datetime.now(UTC),
                )
                if len(self._configurations) > MOST_KNOWN:
                    del self._configurations[next(iter(self._configurations))]
            value = ua.Variant(self._configurations[configuration], ua.VariantType.ExtensionObject)
            await self._write(f"{_CONFIGURATIONS}.ActiveConfiguration", value)

    async def _add(self, recipe: str) -> None:
        at = self._recipes[recipe] = await add_recipe(self._model, len(self._recipes) + 1, recipe)
        id_ = ua.Variant(ua.RecipeIdInternalDataType(Id=recipe), ua.VariantType.ExtensionObject)
        await self._write(f"{at}.InternalId", id_)
        await self._write(f"{at}.LastModified", ua.Variant(datetime.now(UTC), ua.VariantType.DateTime))
        for method in ("Prepare", "Unprepare"):
            await self._model.link(at, method, _not_supported)

    async def _write(self, name: str, value: ua.Variant) -> None:
        await self._model.server.iserver.write_attribute_value(self._model.at(name), ua.DataValue(value))

    async def _configuration_list(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        page = _page(list(self._configurations.values()), arguments[0:2])
        if page is None:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        return self._listed(*page)

    async def _configuration_by_id(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        wanted = str(getattr(arguments[0].Value, "Id", "")) if arguments else ""
        if wanted not in self._configurations:
            return ua.StatusCode(ua.StatusCodes.BadNotFound)
        return [
            self._handle(),
            ua.Variant(self._configurations[wanted], ua.VariantType.ExtensionObject),
            ua.Variant(0, ua.VariantType.Int32),
        ]

    async def _recipe_list(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        if len(arguments) != 6:
            return ua.StatusCode(ua.StatusCodes.BadArgumentsMissing)
        prepared = arguments[2].Value
        names = [
            name
            for name in self._recipes
            if not (prepared == _TRUE and name != self._recipe) and not (prepared == _FALSE and name == self._recipe)
        ]
        page = _page([ua.RecipeIdInternalDataType(Id=name) for name in names], arguments[3:5])
        if page is None:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        return self._listed(*page)

    def _listed(self, values: list[Any], complete: bool) -> list[ua.Variant]:
        return [
            ua.Variant(complete, ua.VariantType.Boolean),
            ua.Variant(len(values), ua.VariantType.UInt32),
            self._handle(),
            ua.Variant(values, ua.VariantType.ExtensionObject, is_array=True),
            ua.Variant(0, ua.VariantType.Int32),
        ]

    def _handle(self) -> ua.Variant:
        self._handles = self._handles % 0xFFFF_FFFF + 1
        return ua.Variant(self._handles, ua.VariantType.UInt32)


def _page(values: list[Any], asked: tuple[ua.Variant, ...]) -> tuple[list[Any], bool] | None:
    """Return the asked page and whether it is the last; None when most or start is no number."""
    if len(asked) != 2 or not all(isinstance(one.Value, int) and one.Value >= 0 for one in asked):
        return None
    most, start = asked[0].Value or MOST_KNOWN, asked[1].Value
    page = values[start : start + most]
    return page, start + len(page) >= len(values)


async def _not_supported(_parent: ua.NodeId, *_arguments: ua.Variant) -> ua.StatusCode:
    return ua.StatusCode(ua.StatusCodes.BadNotSupported)
