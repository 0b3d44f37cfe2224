// What tests ask of a page. Playwright puts it into every page before the page's own scripts.
window.probe = (() => {
  const longTasks = [];
  new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((one) => Math.round(one.duration))))
    .observe({type: 'longtask', buffered: true});

  addEventListener('securitypolicyviolation', (one) => reportViolation(
    `${one.effectiveDirective} forbids ${one.blockedURI} at ${one.sourceFile}:${one.lineNumber} ${one.sample}`));

  const CONTROLS = 'a[href], button:not([disabled]), input:not([type=hidden]):not([disabled]), '
    + 'select:not([disabled]), textarea:not([disabled]), summary, [tabindex="0"]';

  const nameOf = (one) => {
    const text = [one.getAttribute('aria-label'), one.tagName === 'SELECT' ? '' : one.textContent,
      one.labels?.[0]?.textContent, one.value, one.name, one.id].find((one) => one?.trim()) || '';
    return `${one.tagName.toLowerCase()} ${text.trim().replace(/\s+/g, ' ').slice(0, 60)}`;
  };

  const reachable = () => [...document.querySelectorAll(CONTROLS)]
    .filter((one) => one.tabIndex >= 0 && one.checkVisibility({visibilityProperty: true}))
    .filter((one) => !(one.type === 'radio' && !one.checked));

  let numbers = new Map();
  const forgetFocus = () => { document.activeElement?.blur(); numbers = new Map(); };

  const isOutlined = (one) => {
    const style = getComputedStyle(one);
    return style.outlineStyle === 'auto' || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2);
  };
  const withAncestors = (one, count) => one && count ? [one, ...withAncestors(one.parentElement, count - 1)] : [];

  const focused = () => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    if (!numbers.has(one)) numbers.set(one, numbers.size);
    const box = one.getBoundingClientRect();
    const inWindow = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    return {
      number: numbers.get(one),
      name: nameOf(one),
      outlined: withAncestors(one, 5).some(isOutlined),  // a row is outlined in place of the link that covers it
      seen: box.width > 0 && box.height > 0 && inWindow,
    };
  };

  const tooWide = () => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const isClipped = (one) => one && one !== document.documentElement
      && (getComputedStyle(one).overflowX !== 'visible' || isClipped(one.parentElement));
    const end = (one) => one.getBoundingClientRect().left + Math.max(one.offsetWidth ?? 0, one.scrollWidth);
    const isTooWide = (one) => end(one) > width + 1 && !isClipped(one);
    return [...document.body.querySelectorAll('*')]
      .filter((one) => isTooWide(one) && ![...one.children].some(isTooWide))
      .map((one) => `${one.tagName}.${one.className} ends at ${Math.round(end(one))} px: ${one.textContent.slice(0, 40)}`)
      .concat([`the page is ${document.documentElement.scrollWidth} px wide`]);
  };

  const contentfulPaint = () => new Promise((resolve) => {
    new PerformanceObserver((list) => {
      const found = list.getEntriesByName('first-contentful-paint')[0];
      if (found) resolve(found.startTime);
    }).observe({type: 'paint', buffered: true});
  });

  const transferredBytes = (images) =>
    [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
      .filter((one) => images || one.initiatorType !== 'img').reduce((sum, one) => sum + one.transferSize, 0);

  const painted = {};  // Unix time in milliseconds at which a text was painted, by text
  const notice = (text, within) => {
    const look = () => {
      if (!document.querySelector(within)?.textContent.includes(text)) return;
      observer.disconnect();
      requestAnimationFrame(() => setTimeout(() => { painted[text] = performance.timeOrigin + performance.now(); }));
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, {subtree: true, childList: true, characterData: true});
  };

  const hide = (hidden) => {  // headless Chromium has no tab in the background
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
    Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => hidden ? 'hidden' : 'visible'});
    document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
  };

  return {longTasks, nameOf, reachable, forgetFocus, focused, tooWide, contentfulPaint, transferredBytes, painted, notice, hide};
})();
