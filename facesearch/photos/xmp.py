"""XMP: who is where on a photo, read from a sidecar or a photo, and put into a sidecar.

People are regions of the Metadata Working Group (`mwg-rs`), which digiKam, Lightroom and others write, or of
Microsoft's Photo Gallery (`MP`), and names in `Iptc4xmpExt:PersonInImage`. Regions are in parts of the stored
picture, before it is turned by its EXIF orientation (MWG, Guidelines for Handling Image Metadata 2.0, 5.9).

A sidecar that is there already is edited: only the bytes of what is added or taken out change. What this
module wrote is listed in the file, so that it, and nothing else, can be replaced later.

The XML may come from anywhere. No document type is accepted, so that there are no entities, and size and
depth are limited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from facesearch.errors import FacesearchError

LARGEST, DEEPEST = 16 << 20, 100  # bytes; elements in one another

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
MP = "http://ns.microsoft.com/photo/1.2/"
MP_INFO = "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
MP_REGION = "http://ns.microsoft.com/photo/1.2/t/Region#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
DIGIKAM = "http://www.digikam.org/ns/1.0/"
LIGHTROOM = "http://ns.adobe.com/lightroom/1.0/"
OURS = "urn:facesearch:people:1.0/"

_PREFIXES = {
    "rdf": RDF,
    "mwg-rs": MWG,
    "stArea": AREA,
    "stDim": DIMENSIONS,
    "Iptc4xmpExt": IPTC,
    "digiKam": DIGIKAM,
    "lr": LIGHTROOM,
    "facesearch": OURS,
}
# The lists of names that are written.
_LISTS = ((IPTC, "PersonInImage"), (DIGIKAM, "TagsList"), (LIGHTROOM, "hierarchicalSubject"))
_ABOUT = f"{RDF} about"
_CONTAINERS = tuple(f"{RDF} {name}" for name in ("Bag", "Seq", "Alt"))
_ENCODING = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)")
_SAME = 0.5  # two regions that share so much (intersection over union) are of one face
_DIGITS = 6

_EMPTY = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="facesearch">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


class BadXmp(FacesearchError):
    """A sidecar or the XMP of a photo cannot be read."""


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle in parts of the stored picture: its middle, its width and height."""

    x: float
    y: float
    w: float
    h: float

    def turned(self, orientation: int) -> Area:
        """Return where it is in the upright picture.

        Args:
            orientation: The EXIF orientation of the stored picture, 1 to 8.
        """
        x, y = {
            2: (1 - self.x, self.y),
            3: (1 - self.x, 1 - self.y),
            4: (self.x, 1 - self.y),
            5: (self.y, self.x),
            6: (1 - self.y, self.x),
            7: (1 - self.y, 1 - self.x),
            8: (self.y, 1 - self.x),
        }.get(orientation, (self.x, self.y))
        w, h = (self.h, self.w) if orientation >= 5 else (self.w, self.h)
        return Area(x, y, w, h)

    def turned_back(self, orientation: int) -> Area:
        """Return where an area of the upright picture is in the stored one."""
        return self.turned({6: 8, 8: 6}.get(orientation, orientation))

    def overlap(self, other: Area) -> float:
        """Return intersection over union with another area, 0 to 1."""
        wide = min(self.x + self.w / 2, other.x + other.w / 2) - max(
            self.x - self.w / 2, other.x - other.w / 2
        )
        high = min(self.y + self.h / 2, other.y + other.h / 2) - max(
            self.y - self.h / 2, other.y - other.h / 2
        )
        if wide <= 0 or high <= 0:
            return 0.0
        return wide * high / (self.w * self.h + other.w * other.h - wide * high)

    def rounded(self) -> tuple[float, ...]:
        """Return its numbers as they are written."""
        return tuple(round(value, _DIGITS) for value in (self.x, self.y, self.w, self.h))


@dataclass(frozen=True, slots=True)
class Region:
    """A named place in a photo.

    Attributes:
        name: Who is there; may be empty.
        area: Where.
        kind: What it is: "Face", "Pet" or something else.
    """

    name: str
    area: Area
    kind: str = "Face"


@dataclass(frozen=True, slots=True)
class PeopleInXmp:
    """What XMP says of the people on a photo.

    Attributes:
        regions: Faces with names, each once.
        names: People who are on the photo, wherever.
    """

    regions: tuple[Region, ...] = ()
    names: tuple[str, ...] = ()


def read_people(data: bytes) -> PeopleInXmp:
    """Return what XMP says of people.

    Raises:
        BadXmp: It is not XML, too large or too deep, or has a document type.
    """
    # Some programs fill XMP inside photos up with zeros.
    descriptions = list(_parse(_as_utf8(data)[0].rstrip(b"\0")).descriptions())
    regions = [
        one.region
        for one in (*_mwg_regions(descriptions), *_mp_regions(descriptions))
        if one.region.kind == "Face" and one.region.name
    ]
    distinct: list[Region] = []
    for region in regions:
        if not any(one.name == region.name and one.area.overlap(region.area) >= _SAME for one in distinct):
            distinct.append(region)
    names = [item.text for item in _items(descriptions, IPTC, "PersonInImage")]
    return PeopleInXmp(tuple(distinct), tuple(dict.fromkeys(filter(None, names))))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sidecar has to say of people.

    Attributes:
        regions: Faces with names.
        names: Everybody who is on the photo.
        size: Width and height of the stored picture, in pixels.
        tags: Whether people are keywords, too: `digiKam:TagsList`, `lr:hierarchicalSubject`. None keeps them
            where they are.
    """

    regions: tuple[Region, ...]
    names: tuple[str, ...]
    size: tuple[int, int]
    tags: bool | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A sidecar as it has to be.

    Attributes:
        data: The file; None where there is nothing to write.
        conflicts: Our regions that were left out, since another program has the face under another name, with
            that name.
        empty: Whether nothing is left in a file that facesearch made.
    """

    data: bytes | None
    conflicts: tuple[tuple[Region, str], ...] = ()
    empty: bool = False


def edited(data: bytes | None, wanted: Wanted, by: str = "") -> Edited:
    """Return a sidecar that says what is wanted of people, and all else as before.

    Args:
        data: The sidecar; None for a new one.
        wanted: What it has to say.
        by: Who says it. What somebody else wrote, though it was facesearch, stays.

    Raises:
        BadXmp: The sidecar cannot be read.
    """
    if data is None and not (wanted.regions or wanted.names):
        return Edited(None)
    text, restored = _as_utf8(data if data is not None else _EMPTY)
    editor = _Editor(text, by)
    conflicts = editor.regions(wanted)
    # Who is somebody else there, in each place of theirs, is not named there otherwise.
    others = {region.name for region, _ in conflicts}
    others -= {one.name for one in wanted.regions if one not in [region for region, _ in conflicts]}
    people = [name for name in dict.fromkeys(wanted.names) if name not in others]
    tagged = people if (editor.has_tags if wanted.tags is None else wanted.tags) else []
    editor.bag(IPTC, "PersonInImage", "Bag", people)
    editor.bag(DIGIKAM, "TagsList", "Seq", [f"People/{name}" for name in tagged])
    editor.bag(LIGHTROOM, "hierarchicalSubject", "Bag", [f"People|{name}" for name in tagged])
    return _finished(editor.done(), text, restored, tuple(conflicts), new=data is None)


def cleaned(data: bytes, names: Collection[str] | None = None) -> Edited:
    """Return a sidecar without what facesearch wrote, whoever ran it.

    Args:
        data: The sidecar.
        names: Only what it wrote of these people; None for all.

    Raises:
        BadXmp: The sidecar cannot be read.
    """
    text, restored = _as_utf8(data)
    editor = _Editor(text, None)
    editor.take_out(names)
    return _finished(editor.done(), text, restored, (), new=False)


def _finished(
    done: bytes,
    text: bytes,
    restored: Callable[[bytes], bytes],
    conflicts: tuple[tuple[Region, str], ...],
    *,
    new: bool,
) -> Edited:
    if done == text and not new:
        return Edited(None, conflicts)
    root = _parse(done)  # what cannot be read again is not written
    return Edited(restored(done), conflicts, _says_nothing(root))


def _says_nothing(root: _Node) -> bool:
    """Return whether a file is one that facesearch made, with nothing in it."""
    made = root.attributes.get(f"{META} xmptk") == "facesearch"
    return made and not any(one.children or one.attributes.keys() - {_ABOUT} for one in root.descriptions())


@dataclass(slots=True)
class _Node:
    """An element, and where it is in the file.

    Attributes:
        name: Namespace and name.
        attributes: By namespace and name.
        scope: The prefixes that hold inside it.
        start: Its first byte.
        inside: The first byte behind its start tag.
        end_tag: The first byte of its end tag; None for an element without one.
        end: The first byte behind it.
    """

    name: str
    attributes: Mapping[str, str]
    scope: Mapping[str, str]
    start: int
    inside: int = 0
    end_tag: int | None = None
    end: int = 0
    children: list[_Node] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.words).strip()

    def child(self, namespace: str, name: str) -> _Node | None:
        """Return a property, wherever RDF allows it to stand."""
        for child in self.children:
            if child.name == f"{namespace} {name}":
                return child
            if child.name == f"{RDF} Description" and (found := child.child(namespace, name)):
                return found
        return None

    def value(self, namespace: str, name: str) -> str:
        """Return a property's text: an attribute's or a child's."""
        if (text := self.attributes.get(f"{namespace} {name}")) is not None:
            return text.strip()
        nested = (one.value(namespace, name) for one in self.children if one.name == f"{RDF} Description")
        found = self.child(namespace, name)
        return found.text if found is not None else next(filter(None, nested), "")

    def container(self) -> _Node | None:
        return next((child for child in self.children if child.name in _CONTAINERS), None)

    def items(self) -> list[_Node]:
        container = self.container()
        return [one for one in container.children if one.name == f"{RDF} li"] if container is not None else []

    def descriptions(self) -> Iterator[_Node]:
        if self.name == f"{RDF} RDF":
            yield from (child for child in self.children if child.name == f"{RDF} Description")
        else:
            for child in self.children:
                yield from child.descriptions()

    def find(self, name: str) -> _Node | None:
        if self.name == name:
            return self
        return next((found for child in self.children if (found := child.find(name))), None)


def _parse(data: bytes) -> _Node:
    if len(data) > LARGEST:
        raise BadXmp(f"The XMP is {len(data):,} bytes large, and {LARGEST:,} are read at most.")
    builder = _Builder(data)
    try:
        return builder.build()
    except (ExpatError, ValueError) as error:
        raise BadXmp(f"The XMP cannot be read: {error}.") from error


class _Builder:
    """Makes elements of XML."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._open: list[_Node] = []
        self._root: _Node | None = None
        self._scope: dict[str, str] = {}
        self._parser = ParserCreate("utf-8", " ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def build(self) -> _Node:
        self._parser.Parse(self._data, True)
        if self._root is None:
            raise ValueError("it is empty")
        return self._root

    def _refuse(self, *_: object) -> None:
        raise ValueError("it has a document type, which XMP does not have")

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._scope = {**self._scope, prefix or "": uri or ""}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements stand in one another")
        start = self._parser.CurrentByteIndex
        node = _Node(name, attributes, self._scope, start, _behind_tag(self._data, start))
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node
        self._open.append(node)

    def _end(self, _name: str) -> None:
        node, at = self._open.pop(), self._parser.CurrentByteIndex
        if self._data[node.inside - 2 : node.inside] == b"/>":
            node.end = node.inside
        else:
            node.end_tag, node.end = at, _behind_tag(self._data, at)
        self._scope = dict(self._open[-1].scope) if self._open else {}

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].words.append(text)


def _behind_tag(data: bytes, at: int) -> int:
    """Return the first byte behind a tag; a > in a value does not end it."""
    quote = 0
    for place in range(at, len(data)):
        byte = data[place]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == ord(">"):
            return place + 1
    raise ValueError("a tag does not end")


@dataclass(frozen=True, slots=True)
class _Found:
    """A region of the file, and the item that it is."""

    region: Region
    item: _Node


def _mwg_regions(descriptions: Iterable[_Node]) -> Iterator[_Found]:
    for item in _mwg_items(descriptions):
        area = item.child(MWG, "Area")
        numbers = _numbers(area.value(AREA, side) for side in "xywh") if area is not None else None
        if numbers is not None and area is not None and area.value(AREA, "unit") in ("", "normalized"):
            kind = item.value(MWG, "Type") or "Face"
            yield _Found(Region(_one_line(item.value(MWG, "Name")), Area(*numbers), kind), item)


def _mwg_items(descriptions: Iterable[_Node]) -> list[_Node]:
    for description in descriptions:
        regions = description.child(MWG, "Regions")
        listed = regions.child(MWG, "RegionList") if regions is not None else None
        if listed is not None:
            return listed.items()
    return []


def _mp_regions(descriptions: Iterable[_Node]) -> Iterator[_Found]:
    for description in descriptions:
        info = description.child(MP, "RegionInfo")
        listed = info.child(MP_INFO, "Regions") if info is not None else None
        for item in listed.items() if listed is not None else ():
            numbers = _numbers(item.value(MP_REGION, "Rectangle").split(","))
            if numbers is not None:
                left, top, width, height = numbers
                area = Area(left + width / 2, top + height / 2, width, height)
                yield _Found(Region(_one_line(item.value(MP_REGION, "PersonDisplayName")), area), item)


def _numbers(texts: Iterable[str]) -> tuple[float, float, float, float] | None:
    """Return the numbers of an area; None where they are none."""
    try:
        x, y, w, h = (float(text) for text in texts)
    except ValueError:
        return None
    usable = all(-1 <= value <= 2 for value in (x, y)) and all(0 < value <= 2 for value in (w, h))
    return (x, y, w, h) if usable else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _items(descriptions: Iterable[_Node], namespace: str, name: str) -> list[_Node]:
    for description in descriptions:
        if (found := description.child(namespace, name)) is not None:
            return found.items()
    return []


class _Editor:
    """Collects changes of a file, and makes them all at once.

    Args:
        data: The file, in UTF-8.
        by: Who changes it; only what the same one wrote before is taken out. None to take out what anybody
            wrote.
    """

    def __init__(self, data: bytes, by: str | None) -> None:
        self._data = data
        self._mark = f"{by} " if by else ""
        root = _parse(data)
        rdf = root.find(f"{RDF} RDF")
        if rdf is None:
            raise BadXmp("The XMP holds no rdf:RDF.")
        self._rdf = rdf
        self._descriptions = list(root.descriptions())
        listed = [item.text for item in _items(self._descriptions, OURS, "Wrote")]
        # Each line begins with who wrote it.
        mine = [line for line in listed if by is None or _by(line) == by]
        self._others = [line for line in listed if line not in mine]
        self._wrote = [line.removeprefix(f"{_by(line)} ") for line in mine]
        self._writes: list[str] = []
        self._cuts: list[tuple[int, int, bytes]] = []  # first byte, byte behind it, what comes there
        self._new: list[str] = []  # properties that the file does not have yet

    @property
    def has_tags(self) -> bool:
        """Whether people were written as keywords before."""
        return any(line.startswith(("TagsList ", "hierarchicalSubject ")) for line in self._wrote)

    def regions(self, wanted: Wanted) -> list[tuple[Region, str]]:
        """Let the file have some regions; return those that it has under another name, with that name."""
        found = list(_mwg_regions(self._descriptions))
        own = {line for line in self._wrote if line.startswith("region ")}
        foreign = [one for one in found if _region_line(one.region) not in own]
        conflicts: list[tuple[Region, str]] = []
        ours: list[Region] = []
        for region in wanted.regions:
            same = [one.region.name for one in foreign if one.region.area.overlap(region.area) >= _SAME]
            if not any(same):
                ours.append(region)
            elif not any(name.casefold() == region.name.casefold() for name in same):
                conflicts.append((region, next(filter(None, same))))
        self._writes += map(_region_line, ours)
        lines = dict(zip(map(_region_line, ours), ours, strict=True))
        there = {_region_line(one.region) for one in found} & own
        gone = [one.item for one in found if _region_line(one.region) in own - lines.keys()]
        added = [region for line, region in lines.items() if line not in there]
        bag = self._container(MWG, "Regions", "RegionList")
        if bag is not None:
            self._change(bag, gone, [_region_xml(region) for region in added], (MWG, "Regions"))
        elif added:
            items = "".join(f"\n      {_region_xml(region)}" for region in added)
            width, height = wanted.size
            self._new.append(
                '<mwg-rs:Regions rdf:parseType="Resource">\n'
                f'    <mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>\n'
                f"    <mwg-rs:RegionList>\n     <rdf:Bag>{items}\n     </rdf:Bag>\n    </mwg-rs:RegionList>\n"
                "   </mwg-rs:Regions>"
            )
        return conflicts

    def bag(self, namespace: str, name: str, kind: str, wanted: Sequence[str]) -> None:
        """Let a list of texts have some items, and not those that were written before."""
        label = f"{name} "
        own = {line.removeprefix(label) for line in self._wrote if line.startswith(label)}
        found = _items(self._descriptions, namespace, name)
        there = {item.text for item in found}
        self._writes += [label + text for text in wanted if text in own or text not in there]
        gone = [item for item in found if item.text in own - set(wanted)]
        added = [f"<rdf:li>{escape(text)}</rdf:li>" for text in wanted if text not in there]
        bag = self._container(namespace, name)
        if bag is not None:
            self._change(bag, gone, added, (namespace, name))
        elif added:
            prefix = next(one for one, uri in _PREFIXES.items() if uri == namespace)
            items = "".join(f"\n     {item}" for item in added)
            self._new.append(
                f"<{prefix}:{name}>\n    <rdf:{kind}>{items}\n    </rdf:{kind}>\n   </{prefix}:{name}>"
            )

    def take_out(self, names: Collection[str] | None) -> None:
        """Take out what was written of some people, or of all."""
        gone = {line for line in self._wrote if names is None or _name_in(line) in names}
        self._writes = [line for line in self._wrote if line not in gone]
        found = [one.item for one in _mwg_regions(self._descriptions) if _region_line(one.region) in gone]
        if (bag := self._container(MWG, "Regions", "RegionList")) is not None:
            self._change(bag, found, [], (MWG, "Regions"))
        for namespace, name in _LISTS:
            items = _items(self._descriptions, namespace, name)
            if (bag := self._container(namespace, name)) is not None:
                own = [item for item in items if f"{name} {item.text}" in gone]
                self._change(bag, own, [], (namespace, name))

    def done(self) -> bytes:
        """Return the changed file."""
        if self._writes != self._wrote:
            self._list_what_is_written()
        if self._new:
            body = "".join(f"\n   {one}" for one in self._new)
            spaces = "".join(f"\n    {one}" for one in _declarations(f"<rdf:Description {body}", {}))
            self._insert_end(
                self._rdf, f' <rdf:Description rdf:about=""{spaces}>{body}\n  </rdf:Description>\n '
            )
        data, at, parts = self._data, 0, list[bytes]()
        for start, end, instead in sorted(self._cuts):
            parts += [data[at:start], instead]
            at = end
        return b"".join([*parts, data[at:]])

    def _list_what_is_written(self) -> None:
        bag = self._container(OURS, "Wrote")
        lines = [*self._others, *(self._mark + line for line in self._writes)]
        items = [f"<rdf:li>{escape(line)}</rdf:li>" for line in lines]
        if bag is not None:
            self._change(bag, bag.children, items, (OURS, "Wrote"))
        elif items:
            listed = "".join(f"\n     {item}" for item in items)
            self._new.append(
                f"<facesearch:Wrote>\n    <rdf:Bag>{listed}\n    </rdf:Bag>\n   </facesearch:Wrote>"
            )

    def _container(self, namespace: str, *names: str) -> _Node | None:
        """Return the list that a property holds; None where there is no such property.

        Raises:
            BadXmp: The property holds something else. A second one of its name would not be allowed.
        """
        for description in self._descriptions:
            node: _Node | None = description
            for name in names:
                node = node.child(namespace, name) if node is not None else None
            if node is not None and (container := node.container()) is not None:
                return container
            if description.child(namespace, names[0]) or f"{namespace} {names[0]}" in description.attributes:
                raise BadXmp(f"The XMP has {names[0]} in another form than a list of values.")
        return None

    def _change(self, bag: _Node, gone: Sequence[_Node], added: Sequence[str], name: tuple[str, str]) -> None:
        """Take items out of a list, and put others into it; an empty one goes with its property."""
        whole = gone and not added and all(any(item is one for one in gone) for item in bag.children)
        if whole and (found := self._property(bag, name)) is not None:
            gone = [found]
        for item in gone:
            start = item.start
            while self._data[start - 1 : start] in (b" ", b"\t", b"\n", b"\r"):
                start -= 1
            self._cuts.append((start, item.end, b""))
        if added:
            self._insert_end(
                bag, "".join(f"\n      {_declared(item, bag.scope)}" for item in added) + "\n     "
            )

    def _property(self, bag: _Node, name: tuple[str, str]) -> _Node | None:
        """Return the property that holds a list, if nothing else is in it."""
        known = {f"{MWG} RegionList", f"{MWG} AppliedToDimensions", bag.name}
        for description in self._descriptions:
            found = description.child(*name)
            if found is not None and found.start <= bag.start < found.end:
                return found if all(child.name in known for child in found.children) else None
        return None

    def _insert_end(self, node: _Node, text: str) -> None:
        """Insert something as the last in an element."""
        if node.end_tag is not None:
            at = node.end_tag
            while self._data[at - 1 : at] in (b" ", b"\t", b"\n", b"\r") and at > node.inside:
                at -= 1
            self._cuts.append(
                (at, node.end_tag, text.encode() if text.startswith("\n") else f"\n {text}".encode())
            )
            return
        tag = self._data[node.start : node.inside]
        name = tag[1:].split(None, 1)[0].rstrip(b"/>")
        self._cuts.append((node.inside - 2, node.inside, b">" + text.encode() + b"</" + name + b">"))


def _declared(item: str, scope: Mapping[str, str]) -> str:
    """Return an item with the prefixes declared that do not hold where it goes."""
    missing = "".join(f" {one}" for one in _declarations(item, scope))
    return item.replace("<rdf:li", f"<rdf:li{missing}", 1)


def _declarations(xml: str, scope: Mapping[str, str]) -> Iterator[str]:
    """Yield the declarations of prefixes that some XML needs."""
    for prefix, uri in _PREFIXES.items():
        if (f"<{prefix}:" in xml or f" {prefix}:" in xml) and scope.get(prefix) != uri:
            yield f"xmlns:{prefix}={quoteattr(uri)}"


def _region_xml(region: Region) -> str:
    x, y, w, h = (f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") for value in region.area.rounded())
    return (
        f'<rdf:li rdf:parseType="Resource"><mwg-rs:Name>{escape(region.name)}</mwg-rs:Name>'
        f"<mwg-rs:Type>Face</mwg-rs:Type>"
        f'<mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}" '
        'stArea:unit="normalized"/></rdf:li>'
    )


def _by(line: str) -> str:
    """Return who wrote a line of what was written; empty where it does not say."""
    first = line.partition(" ")[0]
    return "" if first == "region" or first in {name for _, name in _LISTS} else first


def _name_in(line: str) -> str:
    """Return whom a line of what was written, without who wrote it, is about."""
    kind, _, rest = line.partition(" ")
    if kind == "region":
        return rest.split(" ", 4)[-1]
    return rest.removeprefix("People/").removeprefix("People|")


def _region_line(region: Region) -> str:
    return f"region {' '.join(f'{value:g}' for value in region.area.rounded())} {region.name}"


def _as_utf8(data: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return XMP in UTF-8, and what brings it back to how it was encoded.

    Raises:
        BadXmp: It is encoded in another way than XML says.
    """
    encoding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(data[:2])
    if encoding is None:
        declared = _ENCODING.match(data)
        if declared and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
            raise BadXmp(f"The XMP is in {declared[1].decode('ascii', 'replace')}, not in UTF-8.")
        return data, lambda done: done
    try:
        text = data[2:].decode(encoding).encode()
    except UnicodeError as error:
        raise BadXmp(f"The XMP cannot be read: {error}.") from error
    return text, lambda done: data[:2] + done.decode().encode(encoding)
