/**
 * The requests that wait for a connection. kafkajs 2.2.4 looks at the queue of each connection every
 * millisecond, also at an empty one, with a timer to a time long past, of which Node.js 24 warns. An empty
 * queue needs no timer: a request that has to wait in it sets one.
 */
import RequestQueue from 'kafkajs/src/network/requestQueue';

let leavesEmptyQueues = false;

/** Has no connection of this process look at a queue in which nothing waits. Idempotent. */
export function leaveEmptyQueues(): void {
  if (leavesEmptyQueues) return;
  leavesEmptyQueues = true;
  const { prototype } = RequestQueue;
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function () {
    if (this.pending.length > 0) schedule.call(this);
  };
}
