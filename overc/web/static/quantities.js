// Numbers with their units, as overc/web/graphs.py writes them.

const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].map((name, place) => [1024 ** place, name]);
const TIME = [[1e-9, "ns"], [1e-6, "µs"], [1e-3, "ms"], [1, "s"]];
const SI = [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"], [1e12, "T"]];
const EVEN = 1e4;
const HUGE = 1e15;

/** The scale in which a size is said, and the word for it. */
function scaleOf(size, unit) {
  const fitting = (scales) => scales.findLast(([scale]) => size >= scale) ?? scales[0];
  if (unit === "B") return fitting(IEC);
  if (unit === "s") return size === 0 ? [1, "s"] : fitting(TIME);
  if (unit === "%" || size < EVEN) return [1, unit];
  const [scale, letter] = fitting(SI);
  return [scale, letter + unit];
}

function numberText(value) {
  const size = Math.abs(value);
  if (size >= HUGE) return value.toPrecision(3);
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

const joined = (number, word) => (word ? `${number} ${word}` : number);

/** @param {number} value @param {string} unit @returns {string} such as `1.5 GiB` */
export function valueText(value, unit) {
  const [scale, word] = scaleOf(Math.abs(value), unit);
  return joined(numberText(value / scale), word);
}

/**
 * The same for the values of an axis: in one scale, and all with as many digits as tell them apart.
 * @param {number[]} values @param {number} step @param {string} unit
 */
export function axisTexts(values, step, unit) {
  const [scale, word] = scaleOf(Math.max(...values.map(Math.abs)), unit);
  const digits = Math.min(9, Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9)));
  return values.map((value) => {
    if (value === 0) return "0";
    if (Math.abs(value) >= HUGE) return valueText(value, unit);
    const text = (value / scale).toLocaleString("en-US", {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
    return joined(text, word);
  });
}

/** Steps between the lines of an axis of bytes. */
export const BYTE_STEPS = Array.from({ length: 70 }, (_, power) => 2 ** power);
