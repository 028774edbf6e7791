/**
 * Parts of Node.js, for a process that has to stay small.
 *
 * `import` of a module of Node.js reads all that it exports, and what it loads only when it is asked for is
 * loaded then: with `node:http` the undici inside Node.js, for `WebSocket` (13 MiB resident, 40 ms of
 * processor), with `node:fs` streams and line editing, with `node:util` the comparison of texts.
 */
export const { createServer, request } = process.getBuiltinModule('node:http');
export const { parseArgs } = process.getBuiltinModule('node:util');
export const { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } =
  process.getBuiltinModule('node:fs');
export const { opendir, stat } = process.getBuiltinModule('node:fs').promises;
