/** What every command gets, and how it opens and closes the agent. */
import {
  assemble,
  assembleLocal,
  openStorage,
  type Agent,
  type Given,
  type LocalAgent,
  type Storage,
} from '../assemble.ts';
import type { Log } from '../io/log.ts';
import type { LoadedSettings } from '../config-problem.ts';

export interface CommandContext {
  readonly loaded: LoadedSettings;
  /** What follows the command and is its own business. */
  readonly rest: readonly string[];
  /** Whether JSON is wanted, for commands that write as they go. */
  readonly json: boolean;
  readonly log: Log;
  /** What whoever started this process has seen to. */
  readonly given?: Given;
}

/** Runs `act` with an agent that is connected to its token and its gateway. */
export async function withAgent<T>(
  { loaded, log, given }: CommandContext,
  act: (agent: Agent) => Promise<T>,
): Promise<T> {
  const agent = await assemble(loaded, log, given);
  try {
    return await act(agent);
  } finally {
    await agent.close();
  }
}

/** Runs `act` with an agent that has neither network nor token. */
export async function withLocalAgent<T>(
  { loaded, log }: CommandContext,
  act: (agent: LocalAgent) => Promise<T>,
): Promise<T> {
  const agent = await assembleLocal(loaded, log);
  try {
    return await act(agent);
  } finally {
    await agent.close();
  }
}

/** Runs `act` with what is remembered, while others may be at work on it. */
export async function withStorage<T>(
  { loaded }: CommandContext,
  act: (storage: Storage) => Promise<T>,
): Promise<T> {
  const storage = await openStorage(loaded.settings);
  try {
    return await act(storage);
  } finally {
    await storage.close();
  }
}
