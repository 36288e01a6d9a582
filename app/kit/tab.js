// What a tab needs whatever its page: a way back that is a step, and clicks that count once the server is back.
(() => {
  // Streamlit adds a step to the history whenever the address of a page changes. Where the page itself completes its
  // address, Back would lead to the same page, which completes it again; and on the way to another page it first
  // adds one without what the page held. Only what a person has done since the page was opened is worth a step.
  const keepSteps = () => {
    const push = history.pushState.bind(history);
    const path = (url) => new URL(url, location.href).pathname;
    let acted = false;
    let leaving = false;
    const reset = (event) => { leaving = false; acted = event.type !== "popstate"; };
    for (const kind of ["pointerdown", "keydown", "popstate"]) addEventListener(kind, reset, true);
    addEventListener("click", (event) => {
      const link = event.composedPath().find((node) => node.tagName === "A" && node.href);
      leaving = Boolean(link) && !link.target && path(link.href) !== location.pathname;
    }, true);
    history.pushState = (state, title, url) => {
      if (path(url) !== location.pathname) {
        acted = leaving = false;
        push(state, title, url);
      } else if (!leaving) (acted ? push : history.replaceState.bind(history))(state, title, url);
    };
  };

  // A server that has just been started draws the page once before it knows what a click on it means: such a click
  // waits until then. Components may have made their nodes anew meanwhile, so it goes to what is in its place.
  const PATIENCE_MS = 15000; // until a server that has just been started begins; busy ones take their time
  const keepClicks = () => {
    const app = document.querySelector("[data-testid='stApp']");
    const said = (name) => app.getAttribute(`data-test-${name}-state`);
    const at = (x, y) => {
      let node = document.elementFromPoint(x, y);
      while (node?.shadowRoot?.elementFromPoint(x, y)) node = node.shadowRoot.elementFromPoint(x, y);
      return node;
    };
    const same = (a, b) => a && a.tagName === b.tagName && a.textContent === b.textContent;
    let state = "known"; // to the server: then "lost", "back" when it answers again, "drawn" while it draws the page
    let clicked = null;
    const known = () => {
      if (state !== "back" && state !== "drawn") return;
      state = "known";
      const node = clicked && at(clicked.x, clicked.y);
      if (same(node, clicked?.node))
        node.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, composed: true }));
      clicked = null;
    };
    new MutationObserver(() => {
      if (said("connection") !== "CONNECTED") state = "lost";
      else if (state === "lost") {
        state = "back";
        setTimeout(() => state === "back" && known(), PATIENCE_MS);
      } else if (state === "back" && said("script") !== "notRunning") state = "drawn";
      else if (state === "drawn" && said("script") === "notRunning") known();
    }).observe(app, { attributes: true, attributeFilter: ["data-test-connection-state", "data-test-script-state"] });
    addEventListener("click", (event) => {
      if ((state !== "back" && state !== "drawn") || !event.isTrusted) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      clicked = { node: event.composedPath()[0], x: event.clientX, y: event.clientY };
    }, true);
  };

  if (!window.maclTab) {
    window.maclTab = true;
    keepClicks();
    keepSteps();
  }
})();
