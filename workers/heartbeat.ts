/**
 * Heartbeats of activities. An activity whose worker was killed is tried again when its heartbeats
 * stop, instead of when its whole time is over.
 */
import type { Context } from '@temporalio/activity';
import type { ActivityInboundCallsInterceptor } from '@temporalio/worker';

/**
 * Lets each activity that has a heartbeat time-out beat three times within it for as long as it is
 * under way. What hangs is still ended by its `startToCloseTimeout`.
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
