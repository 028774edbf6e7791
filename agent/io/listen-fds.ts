/** Sockets that systemd made and hands over. Source: sd_listen_fds(3). */

const FIRST_FD = 3;

/**
 * The one socket that was handed to this process.
 *
 * @param env - its variables are taken out of it: no program that is started later has the socket
 * @returns its descriptor; `undefined` where none was handed over
 */
export function handedSocket(env: NodeJS.ProcessEnv): number | undefined {
  const { LISTEN_FDS: count, LISTEN_PID: pid } = env;
  for (const name of ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES']) {
    Reflect.deleteProperty(env, name);
  }
  return count === '1' && Number(pid) === process.pid ? FIRST_FD : undefined;
}
