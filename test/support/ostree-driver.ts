/** `node ostree-driver.ts SYSROOT TREEHUB COMMIT`: one update, as the agent does it, to be killed on the way. */
import { OstreeInstaller } from '../../agent/io/installers/ostree/ostree.ts';
import { commitTarget, DirectoryTreehub } from './ostree-repo.ts';
import { ostreeSettings } from './ostree-settings.ts';

const [sysroot = '', treehub = '', commit = ''] = process.argv.slice(2);
const installer = new OstreeInstaller(ostreeSettings(sysroot), new DirectoryTreehub(treehub));
const target = commitTarget(commit);
const silent = (): void => undefined;
const never = (): never => {
  throw new Error('a commit has no bytes to open');
};

await installer.check(target);
await installer.receive(target, never, silent);
await installer.prove(target, silent);
await installer.activate(target);
