"""The page in a real browser: what a person does with it."""

import re
import zipfile

import pytest
from PIL import Image
from support.browsing import PHONE, Watched
from support.command import CURIE, LIBRARY, OBAMA, Tool
from support.serving import HTML_NAME, ODD_NAME, Served, serving

pytestmark = pytest.mark.slow

SOLVAY = LIBRARY / "solvay_1927.jpg"


@pytest.fixture
def opened(browser, server, request):
    """A page of the server whose index does not change."""
    watched = Watched(browser, server, **getattr(request, "param", {}))
    yield watched
    watched.close()


@pytest.fixture
def own(browser, changed):
    """A page of the server whose index a test may change."""
    watched = Watched(browser, changed)
    yield watched
    watched.close()


@pytest.fixture(scope="module")
def crowd(tmp_path_factory, model_store):
    """A server of 130 photos of one person, more than a page shows."""
    folder = tmp_path_factory.mktemp("crowd")
    (folder / "photos").mkdir()
    photo = Image.open(OBAMA).convert("RGB")
    for number in range(130):
        photo.resize((150 + number % 40, 190 + number // 4)).save(folder / "photos" / f"{number:03}.jpg")
    tool = Tool(folder, model_store.root)
    for args in (["index", folder / "photos", "--model", "sface"], ["people"]):
        assert tool.run(*args, "--index", folder / "crowd.npz").status == 0
    with serving(folder, model_store.root, folder / "crowd.npz") as server:
        yield server


def hits(page):
    """Wait for the matches, and return their file names, nearest first."""
    page.wait_for_url(re.compile(r"/uploads/[\w-]+/\d+$"))
    return [one.get_attribute("aria-label").rpartition(", number ")[0] for one in page.locator(".shot").all()]


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_the_right_person_comes_first_for_a_photo(opened, way):
    page = opened.go()
    if way == "choose":
        page.set_input_files("#photo", OBAMA)
    else:
        opened.drop(OBAMA, event=way)
    names = hits(page)
    assert names[0] == "obama.jpg"
    assert set(names[:3]) == {"obama.jpg", HTML_NAME, ODD_NAME}
    assert page.get_by_role("heading", level=1).inner_text().startswith("Faces like this")
    assert page.locator(".card.beyond").count() > 0
    opened.shoot("hits-light")


def test_a_photo_dragged_over_the_page_shows_where_to_drop_it(opened):
    page = opened.go()
    assert page.locator("#dropping").is_hidden()
    opened.drop(OBAMA, event="dragover")
    assert page.locator("#dropping").is_visible()
    opened.shoot("dropping-light")
    page.dispatch_event("body", "dragleave")
    assert page.locator("#dropping").is_hidden()


def test_dropped_or_pasted_text_is_ignored(opened):
    page = opened.go()
    page.evaluate("""() => {
      const held = new DataTransfer();
      held.setData("text/plain", "words");
      document.dispatchEvent(new DragEvent("drop", {dataTransfer: held, bubbles: true}));
      document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: held, bubbles: true}));
    }""")
    assert page.locator("#said").inner_text() == ""


def test_another_face_of_a_group_is_chosen_by_its_frame(opened):
    page = opened.go()
    opened.drop(SOLVAY)
    hits(page)
    boxes = page.locator(".frames a")
    assert boxes.count() > 20
    assert boxes.nth(0).get_attribute("aria-current") == "true"
    first = page.locator(".measures dd").all_text_contents()
    boxes.nth(1).click()
    page.wait_for_url(re.compile(r"/uploads/[\w-]+/2$"))
    assert page.locator(".frames a").nth(1).get_attribute("aria-current") == "true"
    assert page.locator(".frames a").nth(0).get_attribute("aria-current") is None
    assert page.locator(".measures dd").all_text_contents() != first
    opened.shoot("hits-group-light")


def test_a_face_of_the_index_is_searched_for(opened):
    page = opened.go()
    page.get_by_role("link", name="Person 1").click()
    opened.shoot("person-light")
    page.locator(".grid a").first.click()
    page.locator(".frames a").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "Faces like Person 1"
    assert page.locator(".hits .card").count() > 1
    opened.shoot("hits-index-light")


def test_a_new_name_is_kept(own):
    page = own.go("/1/person/1")
    page.get_by_label("Name").fill("Barack <b>Obama</b>")
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    assert re.search(r"/person/1$", page.url)
    page.reload()
    assert page.get_by_role("heading", level=1).inner_text() == "Barack <b>Obama</b>"
    assert page.locator("h1 b").count() == 0
    page.goto(own.server.address)
    assert page.get_by_role("link", name="Barack <b>Obama</b>").is_visible()
    page.goto(own.server.address + "1/person/1")
    page.get_by_label("Name").fill("12")
    own.allowed.append("409")
    page.get_by_role("button", name="Save").click()
    assert "is a person's number" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Name").input_value() == "12"
    own.shoot("problem-light")


def test_two_people_are_merged(own):
    page = own.go("/1/person/1")
    page.get_by_label("Is the same person as").fill("2")
    page.get_by_role("button", name="Merge").click()
    page.wait_for_url(re.compile(r"/person/1$"))
    assert page.get_by_text("5 faces in 5 photos").is_visible()
    page.goto(own.server.address)
    assert page.locator("a.card").count() == 1


def test_a_single_face_is_named_ignored_and_no_longer_ignored(own):
    path = own.go("/1/person/2") and own.page.locator(".grid a").all()
    hrefs = [one.get_attribute("href") for one in path]
    solvay = next(
        href for href in hrefs if own.page.request.get(_absolute(own, href)).text().count("<li id") > 5
    )
    page = own.page
    page.goto(_absolute(own, solvay))
    third = page.locator("#face-3")
    third.get_by_label("This is").fill("Niels Bohr")
    third.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile(r"/person/3$"))
    assert page.get_by_role("heading", level=1).inner_text() == "Niels Bohr"
    page.goto(_absolute(own, solvay))
    assert page.locator("#face-3").get_by_role("link", name="Niels Bohr").is_visible()
    page.locator("#face-4").get_by_role("button", name="Ignore this face").click()
    page.wait_for_url(re.compile(r"/photo/\w+"))
    assert page.locator("#face-4").get_by_text("ignored").is_visible()
    assert page.locator(".frames .ignored").count() == 1
    own.shoot("photo-light")
    page.locator("#face-4").get_by_role("button", name="Stop ignoring this face").click()
    page.wait_for_url(re.compile(r"/photo/\w+"))
    assert page.locator("#face-4").get_by_text("ignored").count() == 0


def _absolute(watched, href):
    return f"http://{watched.server.host}:{watched.server.port}{href}"


def test_faces_are_grouped_from_the_page(own):
    for name in [one for one in own.server.tool.folder.iterdir() if "people" in one.name]:
        name.unlink()
    page = own.go()
    assert page.get_by_text("No people yet.").is_visible()
    own.shoot("home-empty-light")
    page.get_by_role("button", name="Group the faces").click()
    page.wait_for_url(re.compile(r"/1/$"))
    assert page.locator("a.card").count() == 2


def test_a_name_with_html_in_it_stays_text(opened):
    page = opened.go("/1/person/1")
    card = page.locator(".card", has_text=HTML_NAME)
    assert card.count() == 1
    card.click()
    assert page.get_by_role("heading", level=1).inner_text() == HTML_NAME
    assert page.title().startswith(HTML_NAME)
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".stage img").get_attribute("alt") == HTML_NAME
    opened.drop(OBAMA.read_bytes(), name="<img src=x onerror=alert(2)>.jpg")
    hits(page)
    assert "<img src=x onerror=alert(2)>" in page.get_by_role("heading", level=1).inner_text()
    assert page.locator("img[src=x]").count() == 0
    page.get_by_role("link", name=re.compile(r"caf.*curie")).count()


def test_a_name_that_is_not_utf8_can_be_read(opened):
    page = opened.go()
    opened.drop(CURIE)
    assert r"caf\xe9 curie.jpg" in hits(page)


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        ((LIBRARY / "coffee.png").read_bytes(), "coffee.png", "No face was found in this photo."),
        (b"words", "words.txt", "This is not a photo that can be read."),
    ],
)
def test_the_page_says_that_a_photo_shows_no_face(opened, data, name, said):
    page = opened.go()
    opened.allowed.append("422")
    before = page.url
    opened.drop(data, name=name, kind="")
    status = page.get_by_role("status")
    status.get_by_text(said).wait_for()
    assert page.url == before
    assert "wrong" in page.locator("#said").get_attribute("class")
    opened.shoot("no-face-light")


def test_the_page_says_that_the_server_has_ended(browser, album, tmp_path, model_store, home):
    server = Served(home, "--index", home.folder / "album.npz")
    watched = Watched(browser, server)
    watched.allowed += ["ERR_CONNECTION", "ERR_EMPTY"]
    page = watched.go()
    page.wait_for_load_state("networkidle")
    assert server.end() == 0
    watched.drop(OBAMA)
    page.get_by_text("The server does not answer").wait_for()
    watched.close()


@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_browsing_without_javascript(opened):
    page = opened.go()
    assert "needs JavaScript" in page.locator("noscript").text_content()
    page.get_by_role("link", name="Person 1").click()
    page.locator(".grid a").first.click()
    page.locator(".faces a").last.click()
    assert page.locator(".hits .card").count() > 1
    opened.shoot("no-script-light")


def test_renaming_without_javascript(browser, changed):
    watched = Watched(browser, changed, java_script_enabled=False)
    page = watched.go("/1/person/2")
    page.get_by_label("Name").fill("Marie Curie")
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    page.reload()
    assert page.get_by_role("heading", level=1).inner_text() == "Marie Curie"
    watched.close()


def test_paging(opened):
    page = opened.go()
    opened.drop(OBAMA)
    hits(page)
    assert page.locator(".pager").count() == 0  # eleven photos
    page.goto(page.url + "?page=2")
    assert page.get_by_text("Page 2").is_visible()
    page.get_by_role("link", name="Back").click()
    assert page.locator(".hits .card").count() == 11


@pytest.mark.parametrize("opened", [{"viewport": PHONE, "has_touch": True}], indirect=True)
def test_a_tap_on_a_phone(opened):
    page = opened.go()
    page.get_by_role("link", name="Person 1").tap()
    page.locator("h1", has_text="Person 1").wait_for()
    page.locator(".grid a").first.tap()
    page.get_by_role("heading", name="Faces", exact=True).wait_for()


def test_faces_are_selected_and_taken_out_and_that_is_undone(own):
    page = own.go("/1/person/1")
    bar = page.locator(".actions")
    assert bar.is_hidden()
    boxes = page.get_by_role("checkbox")
    assert boxes.count() == 3
    boxes.nth(0).click()
    assert bar.get_by_text("1 selected").is_visible()
    boxes.nth(2).click(modifiers=["Shift"])
    assert bar.get_by_text("3 selected").is_visible()
    boxes.nth(1).click()
    assert bar.get_by_text("2 selected").is_visible()
    own.shoot("selected-light")
    bar.get_by_role("button", name="Not this person").click()
    page.get_by_text("Took 2 faces out of Person 1.").wait_for()
    assert boxes.count() == 1
    assert page.url.endswith("/person/1")  # loaded again, nothing is said
    own.shoot("toast-light")
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("The last change was taken back.").wait_for()
    assert boxes.count() == 3


def test_a_name_that_is_taken_is_settled_on_the_spot(own):
    page = own.go("/1/person/2")
    page.get_by_label("Name").fill("Marie")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Marie", level=1).wait_for()
    own.allowed.append("409")
    page.goto(own.server.address + "1/person/1")
    page.get_by_label("Name").fill("marie")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").get_by_text("Another person is called Marie already.").wait_for()
    own.shoot("taken-light")
    page.get_by_role("button", name="Keep both: Marie (2)").click()
    page.get_by_role("heading", name="Marie (2)", level=1).wait_for()
    page.goto(own.server.address)
    page.get_by_label("Name").fill("marie (2")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"q=marie"))
    assert page.locator("a.card").count() == 1
    page.get_by_label("Show").select_option("With a name")
    page.wait_for_url(re.compile(r"show=named"))


def test_who_may_be_the_same_is_answered(own):
    page = own.go("/1/person/1")
    page.get_by_role("checkbox").first.click()
    page.get_by_label("Move to").fill("The same")
    page.get_by_role("button", name="Move", exact=True).click()
    page.get_by_role("button", name="Undo").wait_for()
    page.goto(own.server.address + "1/same")
    own.shoot("same-light")
    cards = page.locator(".pairs li")
    before = cards.count()
    if before:
        cards.first.get_by_role("button", name=re.compile("^No, ")).click()
        page.get_by_role("button", name="Undo").wait_for()
        assert page.url.endswith("/same")
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("The last change was taken back.").wait_for()
        assert cards.count() == before


def test_photos_are_looked_through_with_the_arrow_keys(opened):
    page = opened.go("/1/person/1")
    page.locator(".photos a").first.click()
    first = page.get_by_role("heading", level=1).inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(before) => document.querySelector('h1').textContent != before", arg=first)
    page.keyboard.press("ArrowLeft")
    page.get_by_role("heading", name=first, level=1).wait_for()
    opened.allowed.append("download: ")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == first
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(r"/person/1$"))
    opened.shoot("person-after-keys-light")


@pytest.mark.parametrize("script", [True, False])
def test_enter_never_takes_faces_out(browser, changed, script):
    own = Watched(browser, changed, java_script_enabled=script)
    own.allowed.append("409")
    page = own.go()
    for field in (page.get_by_role("checkbox").first, page.get_by_label("Move to")):
        page.goto(own.server.address + "1/person/1")
        page.get_by_role("checkbox").first.check()
        field.press("Enter")
        page.wait_for_timeout(300)
        assert "Undo" not in page.content()
        assert own.server.ask("/1/api/people/1").json["photos"] == 3
    page.goto(own.server.address + "1/person/1")
    page.get_by_role("checkbox").first.check()
    page.get_by_label("Move to").fill("Somebody")
    page.get_by_label("Move to").press("Enter")
    page.get_by_text("Made Person ").wait_for()
    page.goto(own.server.address)
    assert page.get_by_role("link", name="Somebody").is_visible()
    own.close()


def test_selected_photos_are_downloaded_in_one_file(own, tmp_path):
    page = own.go("/1/person/1")
    own.allowed.append("download: ")
    for number in (0, 2):
        page.get_by_role("checkbox").nth(number).check()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename == "Person 1.zip"
    saved.value.save_as(tmp_path / "photos.zip")
    assert len(zipfile.ZipFile(tmp_path / "photos.zip").namelist()) == 2
    assert page.locator(".actions").get_by_text("2 selected").is_visible()


def together(page):
    """Wait for the matches of several photos, and return their file names, nearest first."""
    page.wait_for_url(re.compile(r"/uploads/together\?"))
    return [one.get_attribute("aria-label").rpartition(", number ")[0] for one in page.locator(".shot").all()]


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_several_photos_are_searched_with_together(opened, way):
    page = opened.go()
    photos = [OBAMA, LIBRARY / "obama_2009.jpg", LIBRARY / "coffee.png"]
    opened.allowed.append("422")
    if way == "choose":
        page.set_input_files("#photo", photos)
    else:
        opened.drop(*photos, event=way)
    assert set(together(page)[:3]) == {"obama.jpg", HTML_NAME, ODD_NAME}
    assert page.get_by_role("heading", level=1).inner_text() == "Faces like these 2"
    assert page.get_by_text("1 of the photos shows no face, or cannot be read.").is_visible()
    assert page.locator(".stage img").count() == 2
    opened.shoot("hits-together-light")
    page.get_by_role("link", name="Search without photo 1").click()
    hits(page)
    assert page.locator(".stage img").count() == 1


def test_a_face_of_one_of_several_photos_is_chosen(opened):
    page = opened.go()
    opened.drop(CURIE, SOLVAY)
    first = together(page)
    frames = page.get_by_role("group", name="Faces in photo 2").locator("a")
    assert frames.count() > 20
    frames.nth(4).click()
    page.wait_for_url(re.compile(r"\.5$"))
    assert frames.nth(4).get_attribute("aria-current") == "true"
    assert first
    assert page.locator(".frames a[aria-current]").count() == 2


def test_photos_of_several_people_are_found(own):
    page = own.go("/1/person/2")
    page.get_by_role("link", name="Photos with somebody else").click()
    page.get_by_role("heading", name="Photos of Person 2", level=1).wait_for()
    page.get_by_label("How").select_option("or")
    page.get_by_label("Name").fill("1")
    page.get_by_label("Name").press("Enter")
    page.get_by_role("heading", name="Photos of Person 2, or of Person 1", level=1).wait_for()
    assert page.locator(".photos .card").count() == 5
    own.shoot("together-light")
    page.get_by_role("link", name="Leave out Person 2").click()
    page.get_by_role("heading", name="Photos of Person 1", level=1).wait_for()
    assert page.locator(".photos .card").count() == 3


def test_the_next_page_comes_by_itself(browser, crowd):
    watched = Watched(browser, crowd)
    page = watched.go("/1/person/1")
    cards = page.locator(".photos .card")
    assert cards.count() == 120
    page.get_by_role("checkbox").nth(118).check()
    page.mouse.wheel(0, 100_000)
    page.get_by_text("Pages 1 to 2").wait_for()
    assert cards.count() == 130
    assert page.get_by_role("link", name="More").count() == 0
    page.get_by_role("checkbox").nth(128).click(modifiers=["Shift"])
    assert page.get_by_text("11 selected").is_visible()
    page.get_by_role("checkbox").nth(128).scroll_into_view_if_needed()
    down = page.evaluate("scrollY")
    cards.nth(128).locator("a").click()
    page.wait_for_url(re.compile("/photo/"))
    page.go_back()
    page.wait_for_function("(down) => Math.abs(scrollY - down) < 300", arg=down)
    assert cards.count() == 130
    watched.close()


def test_who_takes_photos_out_stays_where_they_were(browser, changed):
    own = Watched(browser, changed, viewport={"width": 800, "height": 400})
    page = own.go("/1/person/1?year=2009")
    page.get_by_role("checkbox").check()
    page.evaluate("scrollTo({top: 150, behavior: 'instant'})")
    page.get_by_role("button", name="Ignore").click()
    page.get_by_role("button", name="Undo").wait_for()
    assert "did=" not in page.url
    page.wait_for_function("scrollY > 100")
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("The last change was taken back.").wait_for()
    page.wait_for_function("scrollY > 100")
    own.close()


def test_pages_are_turned_without_javascript(browser, crowd):
    watched = Watched(browser, crowd, java_script_enabled=False)
    page = watched.go("/1/person/1")
    page.get_by_role("link", name="More").click()
    assert page.locator(".photos .card").count() == 10
    page.locator(".photos a").first.click()
    page.get_by_role("link", name="Find faces like this").click()
    page.get_by_role("link", name="More").click()
    assert page.locator(".hits .card").count() == 24
    watched.close()


def test_photos_are_selected_with_a_finger(browser, changed):
    own = Watched(browser, changed, viewport=PHONE, is_mobile=True, has_touch=True)
    page = own.go("/1/person/1")
    page.wait_for_load_state("networkidle")
    finger = page.context.new_cdp_session(page)
    page.evaluate("document.querySelector('.photos').scrollIntoView({behavior: 'instant'})")
    places = [one.bounding_box() for one in page.locator(".photos .card > a").all()]
    spots = [{"x": box["x"] + 40, "y": box["y"] + 30} for box in places]

    def touch(kind, *points):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    touch("touchStart", spots[0])
    page.wait_for_timeout(700)
    page.locator(".count", has_text="1 selected").wait_for()
    for spot, selected in ((2, 3), (1, 2)):
        touch("touchMove", spots[spot])
        page.locator(".count", has_text=f"{selected} selected").wait_for()
    touch("touchEnd")
    page.touchscreen.tap(spots[1]["x"], spots[1]["y"])  # selects, while some are
    page.locator(".count", has_text="1 selected").wait_for()
    own.shoot("selected-phone")
    page.touchscreen.tap(spots[0]["x"], spots[0]["y"])
    assert page.url.endswith("/person/1")
    page.wait_for_function("!document.querySelector('.actions.ready')")
    page.touchscreen.tap(spots[0]["x"], spots[0]["y"])
    page.wait_for_url(re.compile("/photo/"))
    own.close()


def test_a_face_is_shown_beside_its_photo_only_where_it_is_small(opened):
    page = opened.go()
    opened.drop(CURIE)
    hits(page)
    shown = {
        one.locator(".shot").get_attribute("aria-label").rpartition(", number ")[0]: one.locator(
            ".inset"
        ).count()
        for one in page.locator(".hits .card").all()
    }
    assert shown["solvay_1927.jpg"] == 1
    assert shown["obama.jpg"] == 0
    assert set(shown.values()) == {0, 1}
