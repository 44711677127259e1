/** Labels of nodes: what a person may set, so that constraints can name it. The same for whoever asks and whoever accepts. */

/** As long as a constraint's attribute may be. */
export const maxNodeLabelNameLength = 128;
/** A zone, a disk, a rack: a word to compare, no document. */
export const maxNodeLabelValueLength = 256;
/** They are in one record, which every placement on the node compares. */
export const maxLabelsPerNode = 64;

const namePattern = /^[a-zA-Z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9])?$/;

/** Why it can be no name of a label; undefined if it can. */
export function labelNameProblem(name: string): string | undefined {
  if (namePattern.test(name) && name.length <= maxNodeLabelNameLength) return undefined;
  const rule = 'letters, digits, ".", "_", "-" and "/", beginning and ending with one of the first two';
  return `"${name}" is no name of a label: 1 to ${String(maxNodeLabelNameLength)} ${rule}`;
}

/** Why it can be no value of one. */
export function labelValueProblem(name: string, value: string): string | undefined {
  if (value.length > maxNodeLabelValueLength) {
    return `the value of ${name} has ${String(value.length)} characters; at most ${String(maxNodeLabelValueLength)}`;
  }
  return /[\u0000-\u001f\u007f]/.test(value) ? `the value of ${name} has a control character` : undefined;
}
