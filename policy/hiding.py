"""What one agent may not see of one database: asked of the policies, laid over the catalog."""

from __future__ import annotations

from .asks import Ask
from .catalogs import SAMPLES
from .disclosure import Disclosure
from .document import Document
from .fills import Filling, fill, permitted
from .hidden import hidden_columns, hides_anything, permitted_uses
from .judge import OPAQUE, Asker
from .layout import Layout, lay_out
from .nets import net
from .paths import path
from .sql.catalog import Catalog
from .unasked import running


def disclose(
    document: Document,
    asker: Asker,
    resource: str,
    database: str,
    catalog: Catalog | None,
    hash_key: bytes,
    *,
    offline: bool = False,
    made: frozenset[tuple[str, str]] = frozenset(),
) -> Disclosure:
    """What one agent may not see of one database; asks the policies for each tag."""
    hidden = hidden_columns(document, asker, resource, database, hash_key)
    samples = not asker.ask([Ask("reveal", "Tag", SAMPLES)], ())[0].allowed
    filling = fill(hidden, catalog) if catalog is not None else Filling(hidden)
    layout = lay_out(filling.hidden, catalog) if catalog is not None else None
    permits = {
        use: permitted(columns, filling) for use, columns in permitted_uses(document, asker, resource, database, hidden).items()
    }
    hidden = filling.hidden
    watch = net(document, asker, resource, database, catalog, hash_key)
    anywhere = bool(hidden) or hides_anything(document, asker, resource)

    def calls(schema: str, name: str) -> bool:
        call = Ask("call", "Function", path(resource, database, schema, name), (("detail", ""),), (OPAQUE,))
        return asker.ask([call], ())[0].allowed

    runs = None
    if layout is not None and hidden:
        runs = running(layout.catalog, _hidden_names(layout), layout.places, calls, filling)
    return Disclosure(
        hidden,
        samples,
        layout,
        path(resource, database),
        permits,
        anywhere=anywhere,
        offline=offline,
        net=watch,
        runs=runs,
        made=made,
    )


def _hidden_names(layout: Layout) -> dict[int, frozenset[str]]:
    """The relations that show hidden values, to the names of the columns in which these may be."""
    found: dict[int, frozenset[str]] = {}
    for oid, number in layout.places:
        found[oid] = found.get(oid, frozenset()) | {layout.catalog.columns(oid)[number]}
    return found
