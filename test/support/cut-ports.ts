/** Ports that lose power at a chosen call, before or after it took effect. */
import type { Ports } from '../../agent/ports.ts';

export class PowerCut extends Error {}

export interface Cut {
  /** Which call of a port; the first is 1. */
  readonly call: number;
  readonly moment: 'before' | 'after';
}

type PortMethod = (...args: unknown[]) => unknown;

/** The methods that do something to the world; a clock cannot be interrupted. */
const CUT = [
  'repositories',
  'director',
  'signer',
  'anchor',
  'store',
  'staging',
  'installer',
  'boot',
] as const;

/** @returns ports that throw `PowerCut` at `cut`, and how many calls there were */
export function cuttingPorts(ports: Ports, cut: Cut): { ports: Ports; calls(): number } {
  let calls = 0;
  const wrap = <T extends object>(port: T): T =>
    new Proxy(port, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        const method = member.bind(target) as PortMethod;
        return (...args: unknown[]) => {
          calls += 1;
          if (calls !== cut.call) return method(...args);
          if (cut.moment === 'before') throw new PowerCut();
          const result = method(...args);
          // An iterable is interrupted before its first byte.
          if (!(result instanceof Promise)) throw new PowerCut();
          return result.then(() => {
            throw new PowerCut();
          });
        };
      },
    });
  const wrapped = Object.fromEntries(
    CUT.flatMap((name) => {
      const port = ports[name];
      return port === undefined ? [] : [[name, wrap(port)]];
    }),
  );
  return { ports: { ...ports, ...wrapped }, calls: () => calls };
}
