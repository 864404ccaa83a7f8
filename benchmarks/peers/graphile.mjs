// graphile-worker 0.17.3 as its performance page sets it: concurrentJobs 24, maxPoolSize 25, localQueue 500,
// completeJobBatchDelay 0. A refetch delay of 10 ms is set while draining alone, for it costs latency.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

// Its modules lie in a cache directory, not beside this file.
const require = createRequire(`${process.env.PEER_MODULES}/`);
const { run, makeWorkerUtils, Logger } = require("graphile-worker");
const { Pool } = require("pg");

// The driver reads a socket's directory from the host parameter, which the address has.
const address = new URL(process.argv[2].replace("@/", "@localhost/"));
const pool = new Pool({
  host: address.searchParams.get("host") ?? address.hostname,
  port: Number(address.searchParams.get("port") ?? address.port ?? 5432),
  user: decodeURIComponent(address.username),
  password: decodeURIComponent(address.password) || undefined,
  database: decodeURIComponent(address.pathname.slice(1)),
  max: 25,
});
pool.on("error", () => {});
pool.on("connect", (client) => client.on("error", () => {}));
const TEXT = "a task of an ordinary size, forty characters";
const WARM = 50;
const now = () => process.hrtime.bigint();
const quiet = new Logger(() => () => {});

let utils, runner;
let times = {}, count = 0, first = 0n, holding = false, waiting = null;

function seen(number) {
  const at = now();
  if (count === 0) first = at;
  count += 1;
  times[number] ??= Number(at);
  if (waiting && count >= waiting.count) { waiting.done(); waiting = null; }
}
const reach = (wanted) => count >= wanted
  ? Promise.resolve() : new Promise((done) => { waiting = { count: wanted, done }; });
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function start(refetch) {
  runner = await run({
    preset: {
      worker: {
        concurrentJobs: 24,
        pollInterval: 2000,
        localQueue: { size: 500, ...(refetch ? { refetchDelay: { durationMs: 10 } } : {}) },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    pgPool: pool,
    noHandleSignals: true,
    logger: quiet,
    taskList: {
      work: async (payload) => {
        seen(payload.number);
        if (holding) await new Promise(() => {});
      },
    },
  });
  await pause(500);
}

const task = (number) => ({ identifier: "work", payload: { number, text: TEXT } });
async function putMany(from, many) {
  await utils.addJobs(Array.from({ length: many }, (_, n) => task(from + n)));
}
async function remaining() {
  const found = await pool.query("SELECT count(*)::int AS n FROM graphile_worker._private_jobs");
  return found.rows[0].n;
}
async function drained(wanted) {
  times = {}; count = 0;
  await start(true);
  await reach(wanted);
  while (await remaining()) await pause(4);
  return Number(now() - first);
}

async function answer(asked) {
  switch (asked.do) {
    case "install":
      utils = await makeWorkerUtils({ pgPool: pool, logger: quiet });
      await utils.migrate();
      return {};
    case "open":
      utils = await makeWorkerUtils({ pgPool: pool, logger: quiet });
      return {};
    case "single": {
      for (let number = 0; number < WARM; number++) await utils.addJob("work", task(number).payload);
      const began = now();
      for (let number = 0; number < asked.count; number++) await utils.addJob("work", task(number).payload);
      return { seconds: Number(now() - began) / 1e9 };
    }
    case "batch": {
      await putMany(0, WARM);
      const began = now();
      for (let from = 0; from < asked.count; from += asked.size)
        await putMany(from, Math.min(asked.size, asked.count - from));
      return { seconds: Number(now() - began) / 1e9 };
    }
    case "fill":
      for (let from = 0; from < asked.count; from += asked.size)
        await putMany(from, Math.min(asked.size, asked.count - from));
      return {};
    case "drain":
      return { seconds: (await drained(asked.count)) / 1e9, handled: count };
    case "work":
      await start(false);
      return {};
    case "hold":
      holding = true;
      await start(false);
      await reach(1);
      return { at: Number(first) };
    case "send": {
      const sent = {};
      for (let number = 0; number < asked.count; number++) {
        await pause(asked.gap * 1000 * (0.5 + Math.random()));
        sent[number] = Number(now());
        await utils.addJob("work", task(number).payload);
      }
      return { times: sent };
    }
    case "picked":
      await reach(asked.count);
      return { times };
    case "age":
      for (let from = 0; from < asked.count; from += 10_000) await putMany(from, Math.min(10_000, asked.count - from));
      await drained(asked.count);
      await runner.stop();
      return {};
    default:
      throw new Error(`no such question: ${asked.do}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try { said = await answer(JSON.parse(line)); } catch (error) { said = { error: String(error) }; }
  process.stdout.write(JSON.stringify(said) + "\n");
}
process.exit(0);
