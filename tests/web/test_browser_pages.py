"""What is true of every page: with a keyboard, a screen reader, on a phone, and in the dark."""

import itertools
import re

import pytest
from support.browsing import PHONE, Watched
from support.command import LIBRARY

pytestmark = pytest.mark.slow

SOLVAY = LIBRARY / "solvay_1927.jpg"
KINDS = ("home", "person", "photo", "hits", "upload", "group", "several", "together", "message")

# The elements to tap or click, with their sizes.
_TARGETS = """() => [...document.querySelectorAll(
  "main input, main select, main button, main .button, main .drop, main .pick, main summary, .words .name a")]
  .filter((one) => !["hidden", "checkbox"].includes(one.type) && one.id != "photo" && one.checkVisibility())
  .map((one) => [one.tagName, one.getBoundingClientRect().width, one.getBoundingClientRect().height])"""
_WIDER = """() => {
  const wide = document.documentElement.clientWidth;
  const over = [...document.querySelectorAll("body *")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && box.right > wide + 1 && !one.closest(".skip, svg");
  });
  return [document.documentElement.scrollWidth - wide, over.map((one) => one.outerHTML.slice(0, 200))];
}"""
_CUT_OFF = """() => [...document.querySelectorAll("main *")]
  .filter((one) => one.clientWidth && one.scrollWidth > one.clientWidth + 1)
  .filter((one) => getComputedStyle(one).display != "inline")
  .filter((one) => !["INPUT", "svg"].includes(one.tagName))
  .map((one) => one.outerHTML.slice(0, 200))"""
_LUMINANCE = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!/^rgba\\(.*, 0\\)$|transparent/.test(color)) return color;
    }
    return "white";
  };
  const words = [...document.querySelectorAll("body *")].filter((one) =>
    one.checkVisibility() && [...one.childNodes].some((node) => node.nodeType == 3 && node.data.trim()));
  const contrast = words.filter((one) => !one.closest("svg, .skip, #dropping")).map((one) => {
    const two = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a);
    return [(two[0] + 0.05) / (two[1] + 0.05), one.outerHTML.slice(0, 120)];
  });
  return [light(ground(document.body)), contrast];
}"""


@pytest.fixture
def opened(browser, server, request):
    watched = Watched(browser, server, **getattr(request, "param", {}))
    watched.allowed.append("404")  # which the message is about
    yield watched
    watched.close()


def show(watched, kind):
    """Open a page of one of the kinds."""
    page = watched.go("/1/nothing" if kind == "message" else "/1/person/2" if kind != "home" else "/1/")
    if kind == "together":
        page.goto(watched.server.address + "1/together?person=1&or=2")
    if kind in ("photo", "hits"):
        page.locator(".grid a").last.click()
        page.wait_for_url(re.compile("/photo/"))
    if kind == "hits":
        page.get_by_role("link", name="Find faces like this").first.click()
        page.wait_for_url(re.compile("/face/"))
    if kind in ("upload", "group"):
        watched.drop(LIBRARY / "biden.jpg" if kind == "upload" else SOLVAY)
        page.wait_for_url(re.compile("/uploads/"))
    if kind == "several":
        watched.drop(LIBRARY / "biden.jpg", SOLVAY)
        page.wait_for_url(re.compile("/uploads/together"))
    page.wait_for_load_state("networkidle")
    return page


@pytest.mark.parametrize("kind", KINDS)
def test_everything_has_a_name_that_can_be_read_out(opened, kind):
    page = show(opened, kind)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.get_by_role("main").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    for role in ("link", "button", "textbox", "combobox", "img"):
        everyone = page.get_by_role(role)
        for number in range(everyone.count()):
            shown = everyone.nth(number).aria_snapshot()
            assert re.match(rf"""- '?{role} "[^"]""", shown), shown
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    levels = [
        int(one[1])
        for one in page.evaluate("() => [...document.querySelectorAll('h1,h2,h3')].map((a) => a.tagName)")
    ]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.title().endswith(" - facesearch")


@pytest.mark.parametrize("opened", [{"viewport": PHONE, "is_mobile": True, "has_touch": True}], indirect=True)
@pytest.mark.parametrize("kind", KINDS)
def test_a_phone(opened, kind):
    page = show(opened, kind)
    opened.shoot(f"{kind}-phone")
    over, who = page.evaluate(_WIDER)
    assert (over, who) == (0, [])
    assert page.evaluate(_CUT_OFF) == []
    for tag, width, height in page.evaluate(_TARGETS):
        assert min(width, height) >= 43.9, tag


@pytest.mark.parametrize("opened", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True)
@pytest.mark.parametrize("kind", KINDS)
def test_light_and_dark(opened, kind):
    page = show(opened, kind)
    dark = page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    opened.shoot(f"{kind}-{'dark' if dark else 'light'}")
    ground, words = page.evaluate(_LUMINANCE)
    assert ground < 0.03 if dark else ground > 0.8
    assert len(words) >= 3
    assert [one for one in words if one[0] < 4.5] == []
    assert page.evaluate(_CUT_OFF) == []


@pytest.mark.parametrize("opened", [{"viewport": {"width": 640, "height": 450}}], indirect=True)
@pytest.mark.parametrize("kind", KINDS)
def test_letters_of_twice_the_size(opened, kind):
    page = show(opened, kind)
    over, who = page.evaluate(_WIDER)
    assert (over, who) == (0, [])


def focused(page):
    """Return what has the focus."""
    return page.evaluate("""() => {
      const one = document.activeElement;
      return [one.tagName.toLowerCase(), one.id, one.getAttribute("href") ?? "",
        one.className.baseVal ?? one.className];
    }""")


def test_with_the_keyboard_alone(opened):
    page = opened.go()
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert focused(page)[3] == "skip"
    assert skip.bounding_box()["x"] >= 0
    opened.shoot("keyboard-skip-light")
    page.keyboard.press("Enter")
    assert focused(page)[1] == "main"
    page.keyboard.press("Tab")
    assert focused(page)[:2] == ["input", "photo"]
    outline = page.evaluate("() => getComputedStyle(document.querySelector('.drop')).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    assert len(chosen) == 1
    passed = []
    while focused(page)[3] != "card":
        page.keyboard.press("Tab")
        passed.append(focused(page)[:2])
    kinds = [tag for tag, _ in passed[:-1]]
    # The name, the filters, and what there is to do.
    assert kinds == ["input", "select", "select", "a", "a", "button"]
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/person/\d+$"))
    assert page.get_by_role("heading", level=1).inner_text() == "Person 1"


def test_boxes_have_the_focus_in_turn(opened):
    page = show(opened, "group")
    page.locator(".frames a").first.focus()
    first = focused(page)[2] or page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Tab")
    second = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert re.fullmatch(r"Face 2 of \d+", second)
    assert first != second
    stroke = page.evaluate(
        "() => getComputedStyle(document.activeElement.querySelector('rect:last-child')).strokeWidth"
    )
    assert stroke == "6px"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/uploads/[\w-]+/2$"))
