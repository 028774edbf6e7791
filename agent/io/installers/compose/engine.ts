/** podman or docker, and the compose program beside it, through their command lines. */
import { basename, dirname } from 'node:path';

import { runTool } from '../../run-tool.ts';
import { splitImage } from './definition.ts';

export interface EngineSettings {
  readonly kind: 'podman' | 'docker';
  /** The program and its first arguments. */
  readonly engine: readonly string[];
  readonly compose: readonly string[];
  readonly project: string;
  /** Of each call. */
  readonly timeoutMs: number;
}

/** One container of the project, as the engine says it is. */
export interface Container {
  readonly service: string;
  /** Id of its image, hex. */
  readonly image: string;
  readonly state: string;
  /** `healthy`, `starting`, `unhealthy`; `none` where nothing checks it. */
  readonly health: string;
}

const STOP_SECONDS = 10;

export class Engine {
  readonly #settings: EngineSettings;

  constructor(settings: EngineSettings) {
    this.#settings = settings;
  }

  /** @throws Error if one of the two programs does not run */
  async versions(): Promise<Readonly<Record<string, string>>> {
    const [engine, compose] = [
      await this.#run(this.#settings.engine, ['--version']),
      await this.#run(this.#settings.compose, ['version']),
    ];
    return { engine: lastLine(engine), compose: firstLineWith(compose, /version/u) };
  }

  /**
   * Id of the image, hex; `undefined` if the engine has none of this digest.
   *
   * @param image - `NAME@sha256:HEX`
   */
  async imageId(image: string): Promise<string | undefined> {
    const [program = '', ...args] = this.#settings.engine;
    const inspect = [...args, 'image', 'inspect', '--format', '{{.Id}}', image];
    const { code, stdout } = await runTool(program, inspect, this.#options);
    const id = stdout.trim().replace(/^sha256:/u, '');
    return code === 0 && /^[0-9a-f]{64}$/u.test(id) ? id : undefined;
  }

  /** Gets the image from its registry; the engine proves its digest. */
  async pull(image: string): Promise<void> {
    await this.#run(this.#settings.engine, ['pull', image]);
  }

  /** Takes the image from an OCI layout on the disk; the engine proves the digest of every part. */
  async load(image: string, layout: string): Promise<void> {
    if (this.#settings.kind === 'docker') {
      throw new Error(`${layout}: docker takes no image from a layout; leave it to a registry`);
    }
    const [name, hex] = splitImage(image);
    // podman makes a name of the path, and names have no capital letters: the last part has none.
    const pull = ['pull', '--quiet', `oci:${basename(layout)}`];
    const pulled = await this.#run(this.#settings.engine, pull, dirname(layout));
    // Without a name the engine would find the image by its id alone.
    await this.#run(this.#settings.engine, [
      'tag',
      lastLine(pulled),
      `${name}:${hex.slice(0, 32)}`,
    ]);
  }

  async up(definitionPath: string): Promise<void> {
    const { compose, project } = this.#settings;
    await this.#run(compose, ['-p', project, '-f', definitionPath, 'up', '-d']);
  }

  /** Ends every container of the project, whichever definition it came from. */
  async down(): Promise<void> {
    const ids = await this.#ids();
    if (ids.length === 0) return;
    await this.#run(this.#settings.engine, ['stop', '-t', String(STOP_SECONDS), ...ids]);
    try {
      await this.#run(this.#settings.engine, ['rm', '-f', ...ids]);
    } catch (error) {
      // podman that was killed when it started one forgets it, and complains of a mount that it left.
      if ((await this.#ids()).length > 0) throw error;
    }
  }

  async containers(): Promise<readonly Container[]> {
    const ids = await this.#ids();
    if (ids.length === 0) return [];
    const said = await this.#run(this.#settings.engine, ['inspect', '--type', 'container', ...ids]);
    return (JSON.parse(said) as readonly Inspected[]).map(described);
  }

  async #ids(): Promise<readonly string[]> {
    const { engine, project } = this.#settings;
    const filter = `label=com.docker.compose.project=${project}`;
    const said = await this.#run(engine, ['ps', '-a', '-q', '--no-trunc', '--filter', filter]);
    return said.split('\n').filter((line) => line !== '');
  }

  get #options(): { readonly timeoutMs: number } {
    return { timeoutMs: this.#settings.timeoutMs };
  }

  async #run(
    command: readonly string[],
    args: readonly string[],
    directory?: string,
  ): Promise<string> {
    const [program = '', ...first] = command;
    const result = await runTool(program, [...first, ...args], {
      ...this.#options,
      ...(directory !== undefined && { cwd: directory }),
    });
    if (result.code === 0) return result.stdout;
    // Arguments of the operator's stay out of it: it is told to the Director.
    const call = [program, ...args].join(' ').slice(0, 200);
    const why = lastLine(result.stderr) || 'it does not say why';
    throw new Error(`${call} ended with code ${String(result.code)}: ${why}`);
  }
}

interface Inspected {
  readonly Image?: string;
  readonly Config?: { readonly Labels?: Readonly<Record<string, string>> };
  readonly State?: { readonly Status?: string; readonly Health?: { readonly Status?: string } };
}

function described({ Image = '', Config, State }: Inspected): Container {
  const health = State?.Health?.Status ?? '';
  return {
    service: Config?.Labels?.['com.docker.compose.service'] ?? '',
    image: Image.replace(/^sha256:/u, ''),
    state: State?.Status ?? 'unknown',
    health: health === '' ? 'none' : health,
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}

function firstLineWith(text: string, what: RegExp): string {
  return text.split('\n').find((line) => what.test(line)) ?? lastLine(text);
}
