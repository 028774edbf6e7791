/**
 * The two ways this TA can answer; test/tee/README.md lists where they differ.
 *
 * `strict` is OP-TEE's TA, shortcomings and panics included; `default` does what PKCS#11 asks where
 * OP-TEE falls short, and refuses what kills OP-TEE's.
 */
export type Mode = 'strict' | 'default';
