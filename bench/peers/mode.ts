/** How a peer works off a backlog: one event at a time, or those that are under way together at once. */
export type PeerMode = 'event' | 'batch';

/** The mode that the variable `PEER_MODE` names. */
export function readPeerMode(): PeerMode {
  const mode = process.env['PEER_MODE'];
  if (mode === 'event' || mode === 'batch') return mode;
  throw new Error('PEER_MODE must be event or batch.');
}
