/**
 * For `node -p`, with the flags that the daemon has: whether V8 takes what was compiled for its worker.
 *
 * @param directory - where the programs of the bundle lie
 */
export function isCacheTaken(directory: string): string {
  return `const { readdirSync, readFileSync } = require('node:fs');
    const name = readdirSync('${directory}').find((file) => file.endsWith('.cjs'));
    const source = readFileSync('${directory}/' + name, 'latin1');
    const cachedData = readFileSync('${directory}/' + name.replace('.cjs', '.cache'));
    new vm.Script(source, { cachedData }).cachedDataRejected === false`;
}
