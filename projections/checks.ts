/** What a process checks of the projections: that it may start, and whether they are built. */
import type { Pool } from 'pg';
import type { Check } from '../platform/dependencies/readiness';
import type { StartupCheck } from '../platform/dependencies/startup-checks';
import { assertNotRefused, assertTablesMatch, readUnbuilt } from './state';

/** The process ends if the tables are not those that its version declares, or refuse its updates. */
export function projectionsStartupCheck(pool: Pool): StartupCheck {
  return {
    server: 'PostgreSQL',
    async run() {
      await assertTablesMatch(pool);
      await assertNotRefused(pool);
    },
  };
}

/**
 * `/readyz` names the projections that still have to be built, or that refuse this process; it works all
 * the same, or waits for the newer version.
 */
export function projectionsCheck(pool: Pool): Check {
  return {
    name: 'projections',
    required: false,
    async probe() {
      await assertNotRefused(pool);
      const unbuilt = await readUnbuilt(pool);
      if (unbuilt.length > 0) throw new Error(`${unbuilt.join(', ')}: run rebuild-metrics`);
    },
  };
}
