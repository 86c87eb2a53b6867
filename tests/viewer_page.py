"""The viewer's page in a real browser, for the tests."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pneumo_jax.view import viewer
from pneumo_jax.viewer.server import listening

WINDOW = (1440, 1000)
# Sets a slider as a hand does.
_MOVE = """
const [id, value] = arguments, input = document.getElementById(id);
input.value = value;
input.dispatchEvent(new Event('input', {bubbles: true}));
"""
# Pixels of the film in which red or blue stands out.
_COLOURS = """
const canvas = document.getElementById('film');
const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
let red = 0, blue = 0;
for (let i = 0; i < data.length; i += 4) {
  red += data[i] - data[i + 2] > 60;
  blue += data[i + 2] - data[i] > 60;
}
return {red, blue};
"""
# How many red pixels there are in each row with any.
_RED_ROWS = """
const canvas = document.getElementById('film');
const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
const rows = new Array(canvas.height).fill(0);
for (let i = 0; i < data.length; i += 4) {
  rows[Math.floor(i / 4 / width)] += data[i] - data[i + 2] > 60;
}
return rows.filter((count) => count > 0);
"""


def start_browser():
    """A headless Chromium; the test is skipped where there is none."""
    chromium, driver = shutil.which('chromium'), shutil.which('chromedriver')
    if not (chromium and driver):
        pytest.skip('no browser: install chromium and chromium-driver')
    options = webdriver.ChromeOptions()
    # Paths are given, so that selenium looks for nothing in the network.
    options.binary_location = chromium
    for argument in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    size = dict(zip(('width', 'height'), WINDOW, strict=True))
    browser.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride', {**size, 'deviceScaleFactor': 1, 'mobile': False}
    )
    return browser


@contextlib.contextmanager
def serving(folder, **options):
    """Serves an evaluation; gives the page's address."""
    with viewer(folder, **options) as app, listening(app, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.port}/'
        finally:
            server.shutdown()
            thread.join()


class Page:
    """The page as somebody sees it who has a mouse and a keyboard."""

    def __init__(self, browser, address, hash=''):
        """Opens it and waits for the list."""
        self.browser, self.address = browser, address
        browser.get('about:blank')
        browser.get_log('browser')
        browser.get(f'{address}{hash}')
        self.wait_for(lambda: self.text('position'))

    def wait_for(self, condition, seconds=30):
        return WebDriverWait(self.browser, seconds, 0.01).until(lambda _: condition())

    def settle(self):
        """Lets the page draw what it was asked for."""
        self.browser.execute_async_script(
            'const done = arguments[0];'
            'requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))'
        )

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, element_id):
        return self.script(f'return document.getElementById({json.dumps(element_id)}).textContent')

    def script(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def press(self, keys):
        ActionChains(self.browser, duration=0).send_keys(keys).perform()
        self.settle()

    def click(self, selector):
        self.find(selector).click()
        self.settle()

    def move(self, slider, value):
        self.script(_MOVE, slider, value)
        self.settle()

    def choose(self, select, value):
        self.script(
            'const [id, value] = arguments, select = document.getElementById(id);'
            "select.value = value; select.dispatchEvent(new Event('change', {bubbles: true}))",
            select,
            value,
        )
        self.settle()

    def figure(self, name):
        """A figure as it was computed; None where it is undefined."""
        value = self.find(f'data[data-figure={name}]').get_attribute('value')
        return float(value) if value else None

    def ids(self):
        """Of the rows that are drawn, in order."""
        return self.script(
            "return [...document.querySelectorAll('.row .id')].map((row) => row.textContent)"
        )

    def film(self):
        """The id of the film on display."""
        return self.script("return document.querySelector('#facts .id').textContent")

    def zoom(self):
        return float(self.text('zoom')[:-1])

    def wait_for_picture(self):
        self.wait_for(lambda: self.script("return document.getElementById('film').dataset.drawn"))
        self.settle()

    def colours(self):
        return self.script(_COLOURS)

    def red_rows(self):
        return self.script(_RED_ROWS)

    def grey(self, x, y):
        """The grey value of a pixel of the canvas."""
        return self.script(
            "return document.getElementById('film').getContext('2d')"
            '.getImageData(arguments[0], arguments[1], 1, 1).data[0]',
            x,
            y,
        )

    def errors(self):
        """What the browser reported since it was asked last, but warnings."""
        logs = self.browser.get_log('browser')
        return [log['message'] for log in logs if log['level'] == 'SEVERE']

    def check_is_quiet(self):
        """No error was reported, and nothing was asked of another server."""
        assert self.errors() == []
        asked = self.script("return performance.getEntriesByType('resource').map((e) => e.name)")
        assert asked
        assert [name for name in asked if not name.startswith(self.address)] == []
