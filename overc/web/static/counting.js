// How many there are, in words.

// Made once: toLocaleString makes one for each call, which took 3 ms of a screen of rows.
const NUMBERS = new Intl.NumberFormat("en");

/** @param {number} number @returns {string} such as `1,234` */
export const counted = (number) => NUMBERS.format(number);

/** @param {number} number @param {string} noun */
export const countWords = (number, noun) => `${counted(number)} ${noun}${number === 1 ? "" : "s"}`;
