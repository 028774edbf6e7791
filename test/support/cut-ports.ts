/** Ports that lose power at a chosen call, before or after it took effect. Every call has a name. */
import type { Installers, Ports } from '../../agent/ports.ts';

export class PowerCut extends Error {}

export interface Cut {
  /** Which call, counted from 1, or its name such as `store.saveState#2`. */
  readonly call: number | string;
  readonly moment: 'before' | 'after';
}

export interface CutPorts {
  readonly ports: Ports;
  calls(): number;
  /** Names of the calls so far, in order. */
  names(): readonly string[];
}

type PortMethod = (...args: unknown[]) => unknown;

/** The ports that do something to the world; a clock cannot be interrupted. */
export const CUT_PORTS = [
  'repositories',
  'director',
  'signer',
  'anchor',
  'store',
  'staging',
  'health',
  'boot',
] as const;

/** Answers at once and from memory. */
const NOTHING_TO_CUT: ReadonlySet<string> = new Set(['uptimeMs', 'distrust']);

/**
 * @param strike - what happens there: `PowerCut` is thrown, or something that does not come back
 * @returns ports that are struck at `cut`
 */
export function cuttingPorts(
  ports: Ports,
  cut: Cut,
  strike: () => never = () => {
    throw new PowerCut();
  },
): CutPorts {
  const names: string[] = [];
  const counts = new Map<string, number>();
  const call = (what: string, method: () => unknown): unknown => {
    const count = (counts.get(what) ?? 0) + 1;
    counts.set(what, count);
    names.push(`${what}#${String(count)}`);
    if (cut.call !== names.length && cut.call !== names.at(-1)) return method();
    if (cut.moment === 'before') strike();
    const result = method();
    // An iterable is interrupted before its first byte.
    return result instanceof Promise ? result.then(strike) : strike();
  };
  const wrap = <T extends object>(name: string, port: T): T =>
    new Proxy(port, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member, target);
        if (typeof value !== 'function' || NOTHING_TO_CUT.has(String(member))) return value;
        const method = value.bind(target) as PortMethod;
        return (...args: unknown[]) => call(`${name}.${String(member)}`, () => method(...args));
      },
    });
  const wrapped = Object.fromEntries(
    CUT_PORTS.flatMap((name) => {
      const port = ports[name];
      return port === undefined ? [] : [[name, wrap(name, port)]];
    }),
  );
  const installers: Installers = {
    of: (ecu) => wrap(`installer/${ecu}`, ports.installers.of(ecu)),
  };
  const reporter: Ports['reporter'] = {
    ...ports.reporter,
    transition: (from, to, facts) => {
      call(`transition.${from}>${to}`, () => {
        ports.reporter.transition(from, to, facts);
      });
    },
  };
  return {
    ports: { ...ports, ...wrapped, installers, reporter },
    calls: () => names.length,
    names: () => names,
  };
}
