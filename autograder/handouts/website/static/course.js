"use strict";
// From disk a page may not read its neighbours: search then lists pages without a line of each.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// What search shows of a page is from its text, not from its menus.
if (typeof Search === "object") {
  const plainText = Search.htmlToText;
  Search.htmlToText = (page, anchor) => {
    const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
    return plainText(article ? `<div role="main">${article.innerHTML}</div>` : page, anchor);
  };
}

// Formulas. Punctuation that touches one stays on its line.
for (const place of document.querySelectorAll(".math")) {
  katex.render(place.textContent, place, {
    displayMode: place.tagName === "DIV",
    throwOnError: false, // a formula that cannot be read is shown in red, as it was written
  });
  if (place.scrollWidth > place.clientWidth) place.tabIndex = 0; // arrow keys scroll it
  const boxes = place.querySelectorAll(".katex-html > .katex-base");
  if (place.tagName === "DIV" || boxes.length === 0) continue;
  const after = place.nextSibling;
  const closing = after instanceof Text ? after.data.match(/^[.,;:!?)\]]+/) : null;
  if (closing) {
    boxes[boxes.length - 1].append(closing[0]);
    after.data = after.data.slice(closing[0].length);
  }
  const before = place.previousSibling;
  if (before instanceof Text && before.data.endsWith("(")) {
    boxes[0].prepend("(");
    before.data = before.data.slice(0, -1);
  }
}
