"""What scripts add to the pages, by hand in a real browser: keys, ticked rows, uploads, passkeys."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from tests.e2e.gallery import Gallery, sign_in

pytestmark = [pytest.mark.e2e]

PIECE_BYTES = 8 * 1024 * 1024


def test_the_palette_is_opened_and_left_by_keys_alone(person: BrowserContext) -> None:
    page = person.new_page()
    page.goto("/projects/default/vms/")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    page.keyboard.type("db-pri")
    expect(page.locator("#palette [data-hit]").first).to_contain_text("db-primary")
    page.keyboard.press("ArrowDown")
    first = page.locator("#palette [data-hit]").first
    expect(first).to_be_focused()
    with page.expect_response("**/search/**"):
        page.evaluate("htmx.trigger('#palette-q', 'palette:open')")
    expect(page.locator("#palette .htmx-settling, #palette .htmx-request")).to_have_count(0)
    expect(first).to_be_focused()  # a later answer takes the choice away from nobody
    page.keyboard.press("Enter")
    page.wait_for_url("**/vms/db-primary/")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.evaluate("performance.now = () => 1000")  # the two keys belong together, however slow the machine is
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/operations/")
    page.close()


def test_a_passkey_signs_in_without_a_password(gallery: Gallery, browser: Browser) -> None:
    """Chromium's own virtual authenticator stands in for a phone's."""
    context = sign_in(gallery, browser, "tess")
    page = context.new_page()
    port = urlsplit(gallery.url).port
    base = f"http://localhost:{port}"  # a passkey is bound to a name, not to an address
    page.goto(f"{base}/accounts/login/")
    page.fill("input[name=login]", "tess")
    page.fill("input[name=password]", "a-long-enough-passphrase")
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_url(f"{base}/")
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto(f"{base}/accounts/2fa/webauthn/add/")
    page.fill("input[name=password]", "a-long-enough-passphrase")
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_url("**/accounts/2fa/webauthn/add/")  # loaded: its script listens to the button
    page.fill("input[name=name]", "laptop")
    page.check("input[name=passwordless]")
    page.click("#mfa_webauthn_add")
    page.wait_for_url("**/accounts/2fa/recovery-codes/**")
    context.clear_cookies()
    page.goto(f"{base}/accounts/login/")
    page.click("#passkey_login")
    page.wait_for_url(f"{base}/")
    expect(page.locator("h1")).to_have_text("Overview")
    context.close()


def test_rows_are_ticked_and_something_is_done_with_all_of_them(person: BrowserContext) -> None:
    """The bar is there while something is ticked; each VM has its own result, and a refusal says why."""
    page = person.new_page()
    page.goto("/projects/default/vms/?sort=name")
    bar = page.locator(".bulk")
    expect(bar).to_be_hidden()
    page.locator("[data-pick-all]").check()
    expect(page.locator("[data-picked]")).to_have_text(str(page.locator("tr[data-vm]").count()))
    page.locator("[data-pick-all]").uncheck()
    expect(bar).to_be_hidden()
    for name in ("mail-1", "web-1"):
        page.locator(f"tr[data-vm]:has(a:text-is('{name}')) input[name=vm]").focus()
        page.keyboard.press("Space")
    expect(page.locator("[data-picked]")).to_have_text("2")
    assert page.locator("[data-pick-all]").evaluate("box => box.indeterminate")
    bar.locator("button[value=suspend]").click()
    results = page.locator(".results li")
    expect(results).to_have_count(2)
    expect(results.filter(has_text="web-1").locator(".result--bad")).to_have_count(0)
    expect(results.filter(has_text="mail-1")).to_contain_text("STOPPING")
    page.close()


def test_an_upload_goes_on_where_it_broke_off(person: BrowserContext, tmp_path: Path) -> None:
    """A piece that is lost on its way is sent again; a page that was left takes the same file up where it was.

    The page asks how much has come before it goes on: that question is held until what it says meanwhile was read.
    """
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(2 * PIECE_BYTES + 1000))
    sent: list[int] = []
    lost = iter([False, True])
    held: list[Route] = []
    holding = False

    def piece(route: Route) -> None:
        nonlocal holding
        if route.request.method == "POST":
            sent.append(int(route.request.url.partition("=")[2]))
            if next(lost, False):
                holding = True
                route.abort()
                return
        elif holding:
            held.append(route)
            return
        route.continue_()

    page = person.new_page()
    page.route("**/piece/**", piece)
    page.goto("/projects/default/images/new/")
    page.fill("input[name=name]", "uploaded")
    page.set_input_files("input[name=file]", file)
    page.locator("main form button[type=submit]").click()
    expect(page.locator("[data-upload-status] [role=status]")).to_contain_text("it goes on by itself")
    while not held:
        page.wait_for_timeout(50)
    holding = False
    held.pop().continue_()
    page.wait_for_url("**/images/imports/*/", timeout=120_000)
    assert sent == [0, PIECE_BYTES, PIECE_BYTES, 2 * PIECE_BYTES]
    expect(page.locator("main")).to_contain_text("Check the file")
    sent.clear()
    lost = iter([False, True])
    page.goto("/projects/default/images/new/")
    page.fill("input[name=name]", "left")
    page.set_input_files("input[name=file]", file)
    page.locator("main form button[type=submit]").click()
    expect(page.locator("[data-upload-status] [role=status]")).to_contain_text("it goes on by itself")
    page.goto("/projects/default/images/")  # from here on nothing asks for the old page
    holding = False
    page.get_by_role("link", name="left", exact=True).click()
    page.wait_for_url("**/images/imports/*/")  # loaded: its script listens to the form
    sent.clear()
    page.set_input_files("#resume-file", file)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("main")).to_contain_text("Check the file")
    assert sent == [PIECE_BYTES, 2 * PIECE_BYTES]
    page.close()
