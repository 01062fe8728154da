"""The page as a browser shows it: on a phone and a desk, light and dark, for eyes and for screen readers.

With ``OTEL_BRIDGE_SCREENSHOTS`` set to a folder the pictures are kept there.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import chromium, first_pixel, found_on, screenshot
from web_stage import LINKS, busy, served

from otel_bridge.web.page import render
from otel_bridge.web.snapshot import Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.backend
PHONE, DESK = (390, 1900), (1280, 1750)
PAPER = {False: (0xFA, 0xF9, 0xF6), True: (0x15, 0x15, 0x14)}
AUDIT = """
const luminance=c=>{const v=c.map(x=>{x/=255;return x<=.03928?x/12.92:((x+.055)/1.055)**2.4});
  return .2126*v[0]+.7152*v[1]+.0722*v[2]};
const rgb=s=>s.match(/[\\d.]+/g).map(Number);
const behind=e=>{for(;e;e=e.parentElement){const c=rgb(getComputedStyle(e).backgroundColor);
  if(c.length<4||c[3]>0)return c.slice(0,3)}return [255,255,255]};
const faint=[],walker=document.createTreeWalker(document.body,NodeFilter.SHOW_TEXT);
while(walker.nextNode()){const node=walker.currentNode,e=node.parentElement;
  if(!node.textContent.trim()||e.closest('script,style,.unseen,.skip'))continue;
  const [a,b]=[luminance(rgb(getComputedStyle(e).color).slice(0,3)),luminance(behind(e))];
  const ratio=(Math.max(a,b)+.05)/(Math.min(a,b)+.05);
  if(ratio<4.5)faint.push([node.textContent.trim().slice(0,40),ratio])}
const wide=[...document.body.querySelectorAll('*')].filter(e=>!e.closest('.wide,.unseen,.skip,svg')
  &&e.getBoundingClientRect().right>document.documentElement.clientWidth+1).map(e=>e.outerHTML.slice(0,80));
const small=[...document.querySelectorAll('a')].filter(e=>!e.closest('.skip')
  &&e.getBoundingClientRect().height<20).map(e=>e.textContent);
const focusable=[...document.querySelectorAll('a,[tabindex]')]
  .map(e=>(e.getAttribute('aria-label')||e.textContent).trim());
const whole=document.documentElement,places=[...document.querySelectorAll('a,[tabindex]')]
  .filter(e=>!e.closest('.skip')).map(e=>e.getBoundingClientRect());
const astray=places.filter((b,i)=>i&&b.bottom<=places[i-1].top).length;
return {astray,faint,wide,small,focusable,scroll:whole.scrollWidth-whole.clientWidth,
  landmarks:[...document.querySelectorAll('header,nav,main,footer')].map(e=>e.tagName)}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page behind its real server, with its real policy."""
    chromium()
    with served(lambda: busy(tmp_path_factory.mktemp("stage"))) as url:
        yield url


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_is_drawn_as_its_own_policy_allows(
    address: str, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    kept = os.environ.get("OTEL_BRIDGE_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path
    file = folder / f"page-{'phone' if size is PHONE else 'desk'}-{'dark' if dark else 'light'}.png"
    console = screenshot(f"{address}/?refresh=off", file, size, dark=dark)
    assert console == "", "nothing is refused by the policy, and nothing is missing"
    assert first_pixel(file) == PAPER[dark]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(320, 900), PHONE, DESK], ids=["small", "phone", "desk"])
def test_it_can_be_read_by_everybody(tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    async def page() -> str:
        stage = await busy(tmp_path)
        return render(await Snapshots(stage.running).take(), LINKS).refreshing()

    found: dict[str, Any] = found_on(asyncio.run(page()), AUDIT, tmp_path, size, dark=dark)
    assert found["faint"] == [], "contrast of text below 4.5 to 1"
    assert found["wide"] == [], "wider than the window"
    assert found["scroll"] == 0, "the page scrolls sideways"
    assert found["small"] == [], "links too low to touch"
    assert found["landmarks"] == ["HEADER", "NAV", "MAIN", "FOOTER", "NAV"]
    assert found["focusable"][:2] == ["Skip to the projects", "Pause"]
    assert all(found["focusable"])
    assert found["astray"] == 0, "the focus goes up again"
