"""Horizon's pages as a person uses them: tables with actions, forms, messages."""

from pathlib import Path

from tests.e2e.horizon.webdriver import PASSING, Browser, Element, Refused

PASSWORD = "sandbox"
ALERTS = "//*[contains(@class, 'alert-danger') or contains(@class, 'alert-warning')]"
DIALOG = "//*[contains(@class, 'modal-dialog')]"
PANELS = "//a[contains(@class, 'openstack-panel')] | //*[contains(@class, 'openstack-panel')]//a"


class Horizon:
    """A browser at Horizon. `pictures` is where what it shows is kept."""

    def __init__(self, browser: Browser, pictures: Path) -> None:
        self.browser = browser
        self._pictures = pictures

    def log_in(self, user: str) -> None:
        """Begin anew as a user of the sandbox."""
        self.browser.forget()
        self.browser.open("/auth/login/")
        self.browser.see("//input[@name='username']").fill(user)
        self.browser.see("//input[@name='password']").fill(PASSWORD)
        self.browser.press("//*[@id='loginBtn']")
        assert not self.browser.path.startswith("/auth"), self.alerts()

    def alerts(self) -> list[str]:
        """What the page complains of."""
        return [one.text for one in self.browser.all(ALERTS) if one.shown and one.text]

    def look(self, name: str) -> None:
        """Keep a picture of the page, which has to have no complaint."""
        self.browser.settle()
        self.browser.picture(self._pictures / f"{name}.png")
        assert self.alerts() == [], self.browser.path
        assert "Something went wrong" not in self.browser.run("return document.title")

    def panels(self) -> list[str]:
        """The paths of all panels that the user is offered."""
        links = [one.attribute("href") or "" for one in self.browser.all(PANELS)]
        return list(dict.fromkeys(link.removeprefix(self.browser.base) for link in links if "#" not in link))

    def names(self, table: str) -> list[str]:
        """What the table on the page has."""
        rows = self.browser.all(f"//table[@id='{table}']//tr[@data-display]")
        return [row.attribute("data-display") or "" for row in rows]

    def row(self, table: str, name: str, text: str) -> Element:
        """Wait until the row of a name says something; tables bring themselves up to date."""
        return self.browser.see(f"//table[@id='{table}']//tr[@data-display='{name}'][contains(., '{text}')]")

    def act(self, row: str, action: str) -> None:
        """Choose an action of a row, given as an XPath; the menu it is in is opened."""
        path = f"{row}//td[contains(@class, 'actions_column')]"
        wanted = f"{path}//*[self::a or self::button][normalize-space()='{action}']"

        def choose() -> bool:
            found = next(iter(self.browser.all(wanted)), None)
            if found is None:
                return False
            if not found.shown:
                self.browser.see(f"{path}//*[contains(@class, 'dropdown-toggle')]").click()
            found.click()
            return True

        self.browser.wait(choose, wanted)
        self.browser.settle()

    def confirm(self) -> None:
        """Say yes to the question that an action asks."""
        self.browser.press(f"{DIALOG}//*[contains(@class, 'btn-danger')]")

    def delete(self, page: str, table: str, name: str, action: str) -> None:
        """Delete by the action of a row, and wait until the list has it no more."""
        self.browser.open(page)
        self.act(f"//table[@id='{table}']//tr[@data-display='{name}']", action)
        self.confirm()
        assert self.alerts() == []
        self.gone(page, table, name)

    def gone(self, page: str, table: str, name: str) -> None:
        """Wait until the list has it no more."""

        def look() -> bool:
            self.browser.open(page)
            return name not in self.names(table)

        self.browser.wait(look, f"end of {name}")

    def fill(self, **fields: str) -> None:
        """Fill in text fields of the form, by their names."""
        for name, text in fields.items():
            self.browser.see(f"//*[@id='id_{name}']").fill(text)

    def choose(self, select: str, text: str) -> None:
        """Choose what begins with a text in a select of the form."""
        label = f"//label[@for='{select}']/following-sibling::div"

        def pick() -> bool:
            option = f"//select[@id='{select}']/option[starts-with(normalize-space(), '{text}')]"
            for plain in self.browser.all(option):
                if plain.shown:
                    plain.click()
                    return True
            item = f"{label}//li[starts-with(normalize-space(), '{text}')]"
            if not any(one.shown for one in self.browser.all(item)):
                self.browser.see(f"{label}//*[contains(@class, 'dropdown-toggle')]").click()
            self.browser.see(item).click()
            return True

        self.browser.wait(pick, f"{text} in {select}")

    def submit(self, words: str) -> None:
        """Press the form's button and wait until the form is gone and the page says that it is done."""
        self.browser.press(
            f"{DIALOG}//*[self::input[@value='{words}'] or self::button[normalize-space()='{words}']"
            f" or self::a[normalize-space()='{words}']]"
        )
        self.browser.wait(lambda: not self._dialogs(), f"end of the form {words}")
        self.browser.settle()
        assert self.alerts() == []

    def _dialogs(self) -> list[Element]:
        try:
            return [one for one in self.browser.all(DIALOG) if one.shown]
        except Refused as refused:
            if refused.error not in PASSING:
                raise
            return []
