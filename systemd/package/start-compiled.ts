/** Starts a program that is one file, with what V8 has made of it: compiled.ts. */
declare const PROGRAM: string;

const { readFileSync } = process.getBuiltinModule('node:fs');
const { createRequire } = process.getBuiltinModule('node:module');
const { Script } = process.getBuiltinModule('node:vm');
const filename = `${import.meta.dirname}/${PROGRAM}.cjs`;

/** Absent where the package was made on another machine than it is for. */
function cachedData(): Buffer | undefined {
  try {
    return readFileSync(`${import.meta.dirname}/${PROGRAM}.cache`);
  } catch {
    return undefined;
  }
}

// ASCII: read as such, a text takes one byte for each character.
const script = new Script(readFileSync(filename, 'latin1'), { filename, cachedData: cachedData() });
const start = script.runInThisContext() as (require: NodeJS.Require, meta: ImportMeta) => void;
start(createRequire(import.meta.url), import.meta);
