/**
 * GRUB with the script of agent/INSTALLERS.md: `load_env`, the choice, and `save_env`, which writes the
 * block where it is. The environment is read by the real `grub-editenv`.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';

const BLOCK_BYTES = 1024;

export class Grub {
  readonly environment: string;

  constructor(environment: string) {
    this.environment = environment;
    // Another process goes on with what is there.
    if (existsSync(environment)) return;
    execFileSync('grub-editenv', [environment, 'create']);
    execFileSync('grub-editenv', [environment, 'set', 'saved_entry=0']);
  }

  boot(): 'a' | 'b' {
    const env = this.values();
    if (env['ota_state'] === 'trial') {
      const tries = Number(env['ota_tries']);
      if (tries > 0) env['ota_tries'] = String(tries - 1);
      else Object.assign(env, { ota_active: env['ota_fallback'], ota_state: 'good' });
      this.#save(env);
    }
    return env['ota_active'] === 'b' ? 'b' : 'a';
  }

  values(): Record<string, string> {
    const text = execFileSync('grub-editenv', [this.environment, 'list']).toString();
    const pairs = text.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at < 1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
    });
    return Object.fromEntries(pairs);
  }

  #save(env: Record<string, string>): void {
    const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`);
    const block = `# GRUB Environment Block\n${lines.join('')}`.padEnd(BLOCK_BYTES, '#');
    const file = openSync(this.environment, 'r+');
    writeSync(file, block, 0);
    closeSync(file);
  }
}
