// One small box that says what the pointer, or the keyboard, is at.

const box = document.createElement("div");
box.className = "tip";
box.hidden = true;
box.setAttribute("aria-hidden", "true");
document.body.append(box);

const AWAY_PX = 14;

/**
 * Shows lines beside a place of the window.
 * @param {number} x @param {number} y
 * @param {string} when
 * @param {Node | string} content
 */
export function showTip(x, y, when, content) {
  const time = document.createElement("span");
  time.className = "when";
  time.textContent = when;
  box.replaceChildren(time, content);
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const beyond = x + AWAY_PX + width > innerWidth - 4;
  const left = beyond ? x - AWAY_PX - width : x + AWAY_PX;
  const top = y - AWAY_PX - height;
  const room = Math.max(4, Math.min(left, innerWidth - width - 4));
  box.style.translate = `${room}px ${top < 4 ? y + AWAY_PX : top}px`;
}

export function hideTip() {
  box.hidden = true;
}

addEventListener("scroll", hideTip, { passive: true, capture: true });
