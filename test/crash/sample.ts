/**
 * Each N-th cell of a table, and its columns in turn: whatever N is, a sample has as many of each
 * column.
 */
export function sampleOf<R, C>(
  rows: readonly R[],
  columns: readonly C[],
  every: number,
): (R & C)[] {
  const cells: (R & C)[] = [];
  for (let taken = 0; taken * every < rows.length * columns.length; taken += 1) {
    const row = rows[Math.floor((taken * every) / columns.length)];
    const column = columns[taken % columns.length];
    if (row !== undefined && column !== undefined) cells.push({ ...row, ...column });
  }
  return cells;
}
