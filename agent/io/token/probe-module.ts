/** Whether a PKCS#11 library may be let into this process: another one tries it first. */
import { causeOf, OtaError } from '../../errors.ts';
import { endsWithUs } from '../last-will.ts';
import { prepareModule, type ModuleSettings } from './module.ts';
import { withoutPins } from './pin.ts';
import { endProbe, startProbe, type Ended } from './probe.ts';

/** Slow boards and busy secure worlds need seconds; systemd gives a service 90 s to start. */
const ANSWER_MS = 15_000;
/** What the other process says last, when every call has come back. */
const ANSWERED = 'answered';

const CRASHED =
  'install another version of the library or set token.module; ' +
  '"pkcs11-tool --module LIBRARY -L" shows it without the agent';
const HUNG =
  'see that what the library talks to is there and answers (tee-supplicant, tpm2-abrmd, pcscd), ' +
  'and start it again';

/**
 * Loads the library and asks it for its tokens, in a process of its own.
 *
 * A library that crashes takes the process with it, and one that hangs stops everything in it, the
 * watchdog's answer included: no code of this process could say what happened. What a library answers is
 * not judged here, and nobody logs in. One that is isolated is asked the way the agent will: it may be
 * isolated because it crashes in a process like this.
 *
 * @throws OtaError TOKEN_MODULE if it crashes, ends the process or does not answer in time
 */
export async function probeModule(
  settings: ModuleSettings,
  answerMs = ANSWER_MS,
  probe = startProbe(),
): Promise<void> {
  const { module } = settings;
  const { child } = probe;
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, answerMs, 'late');
  });
  try {
    const library = prepareModule(settings);
    // Preparing has told the library who asks, in the environment.
    const told = { library, environment: withoutPins(process.env), lastWords: ANSWERED };
    child.stdin.end(JSON.stringify(told));
    endsWithUs(child, 'alone');
    const ended = await Promise.race([probe.ended, late]);
    const last = said.trimEnd().split('\n').at(-1) ?? '';
    if (last === ANSWERED) return;
    if (ended === 'late') {
      const cause = `${last}: no answer within ${String(answerMs / 1000)} s`;
      throw unusable(module, cause, HUNG);
    }
    throw unusable(module, `${last}: ${howItEnded(ended)}`, CRASHED);
  } catch (cause) {
    if (cause instanceof OtaError) throw cause;
    throw unusable(module, `cannot start ${process.execPath}: ${causeOf(cause)}`, CRASHED);
  } finally {
    clearTimeout(timer);
    endProbe(probe);
  }
}

function howItEnded([status, signal]: Ended): string {
  if (signal !== null) return `the library crashed (${signal})`;
  return `the library ended the process (exit status ${String(status)})`;
}

function unusable(module: string, cause: string, remedy: string): OtaError<'TOKEN_MODULE'> {
  return new OtaError('TOKEN_MODULE', { module, cause, remedy });
}
