/** Every notification, and which of them have a receiver. */
import type { Config } from '../../../platform/process/config';
import type { Notification } from './notification';
import { soldOut } from './sold-out';

export const notifications: readonly Notification[] = [soldOut];

/** A notification and its receiver's address. */
export interface Subscription {
  readonly notification: Notification;
  readonly url: string;
}

/** The notifications whose receiver is configured. */
export function subscriptionsOf(config: Config): Subscription[] {
  return notifications.flatMap((notification) => {
    const url = config[notification.receiver];
    return url === undefined ? [] : [{ notification, url }];
  });
}
