/** OpenStack Swift, with its S3 interface, as a store of images. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { AwsV4Signer } from 'aws4fetch';

import type { ObjectStoreSettings } from '../director/state/object-store.ts';

export interface Swift {
  /** Of a bucket that is there. */
  readonly settings: ObjectStoreSettings;
  /** The same for a process. */
  readonly env: Readonly<Record<string, string>>;
  /** Names of the objects in the bucket. */
  list(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

const BUCKET = 'images';
const KEYS = { accessKeyId: 'staging:operator', secretAccessKey: 'secret', region: 'us-east-1' };

export async function startSwift(directory: string): Promise<Swift> {
  const place = join(directory, 'swift');
  mkdirSync(place);
  // Debian's Python, which has Debian's modules.
  const program = join(import.meta.dirname, 'swift-server.py');
  const child = spawn('/usr/bin/python3', [program, place], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit')])) as [unknown];
  if (typeof line !== 'string') throw new Error('Swift did not start');
  const url = `${line}/${BUCKET}`;
  await call('PUT', url);
  return {
    settings: { ...KEYS, url },
    env: {
      IMAGES_S3_URL: url,
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      AWS_REGION: KEYS.region,
    },
    list: async () => {
      const text = await call('GET', url);
      return [...text.matchAll(/<Key>([^<]*)<\/Key>/gu)].map(([, name = '']) => name);
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    },
  };
}

async function call(method: string, url: string): Promise<string> {
  const signed = await new AwsV4Signer({ ...KEYS, method, url, service: 's3' }).sign();
  const answer = await fetch(signed.url, { method, headers: signed.headers });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${url}: ${String(answer.status)} ${text}`);
  return text;
}
