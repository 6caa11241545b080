"""Where things lie on the report's page, for tests in a browser."""


TITLE = "#viewer-title"


def box(page, selector):
    return page.locator(selector).first.bounding_box()


def layers(page):
    """Places of the pictures on the stage, and how they are laid."""
    return page.evaluate("""[...document.querySelectorAll('#stage .layer:not(.peek) img')].map((image) => {
        const r = image.getBoundingClientRect();
        const style = image.parentElement.style;
        return {x: r.x, y: r.y, w: r.width, h: r.height, src: image.src.split('/').pop(), clip: style.clipPath,
                blend: style.mixBlendMode, opacity: style.opacity};
    })""")


def open_viewer(page, place=1):
    page.locator("#strip button.shot").nth(place).click()
    page.wait_for_selector("#viewer[open] #stage img")
