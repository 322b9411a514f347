/**
 * Heartbeats of activities. An activity whose worker was killed is retried after its heartbeat timeout,
 * instead of its whole start-to-close timeout.
 */
import type { Context } from '@temporalio/activity';
import type { ActivityInboundCallsInterceptor } from '@temporalio/worker';

/**
 * Sends three heartbeats within the heartbeat timeout of each running activity that has one. An
 * activity that hangs is still ended by its `startToCloseTimeout`.
 */
export function createHeartbeatInterceptor({
  info,
  heartbeat,
}: Pick<Context, 'info' | 'heartbeat'>): ActivityInboundCallsInterceptor {
  const { heartbeatTimeoutMs } = info;
  return {
    async execute(input, next) {
      if (heartbeatTimeoutMs === undefined || heartbeatTimeoutMs === 0) return next(input);
      const beating = setInterval(() => {
        heartbeat();
      }, heartbeatTimeoutMs / 3);
      try {
        return await next(input);
      } finally {
        clearInterval(beating);
      }
    },
  };
}
