// How many there are, in words.

/** @param {number} number @returns {string} such as `1,234` */
export const counted = (number) => number.toLocaleString("en");

/** @param {number} number @param {string} noun */
export const countWords = (number, noun) => `${counted(number)} ${noun}${number === 1 ? "" : "s"}`;
