/** What a real client asked of a real TA, as programs. */
import type { RecordedCall, RecordedParameter } from '../unit/tee/transcript.ts';
import type { Program, Step } from './ta-program.ts';

/** Longer conversations are cut: they cost time and reach nothing that two shorter ones do not. */
const MAX_RECORDED_STEPS = 32;

/** One program for each time the client started. Its tokens had the PINs that ours have. */
export function* recordedPrograms(calls: readonly RecordedCall[]): Iterable<Program> {
  const seen = new Set<string>();
  let steps: Step[] = [];
  const take = function* (): Iterable<Program> {
    const text = JSON.stringify(steps);
    if (steps.length > 0 && !seen.has(text)) yield { fixture: 0, failingWrite: 0, steps };
    seen.add(text);
    steps = [];
  };
  for (const call of calls) {
    if (call.op === 'open') yield* take();
    else if (call.op === 'invoke' && steps.length < MAX_RECORDED_STEPS)
      steps.push(recordedStep(call));
  }
  yield* take();
}

function recordedStep({ cmd = 0, p = [] }: RecordedCall): Step {
  const bytes = (parameter: RecordedParameter | null | undefined): Buffer =>
    Buffer.from(parameter?.in ?? '', 'hex');
  const type = (parameter: RecordedParameter | null | undefined): number =>
    parameter === null || parameter === undefined ? 0 : { in: 5, out: 6, inout: 7 }[parameter.d];
  return {
    client: 0,
    command: cmd,
    types: p.reduce((types, parameter, index) => types | (type(parameter) << (4 * index)), 0),
    roomBytes: Math.min(p[2]?.size ?? 0, 0xffff),
    control: bytes(p[0]),
    input: bytes(p[1]),
    signature: bytes(p[2]),
  };
}
