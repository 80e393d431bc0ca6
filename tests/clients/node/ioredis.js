// drave from Node, with ioredis: node ioredis.js redis://127.0.0.1:7379
import { Redis } from 'ioredis';

const client = new Redis(process.argv[2]);
const fields = (flat) => Object.fromEntries(flat.flatMap((name, at) => (at % 2 ? [] : [[name, flat[at + 1]]])));
// RESP3 has a map of topics, RESP2 a list of pairs.
const topics = (reply) => (Array.isArray(reply) ? reply : reply instanceof Map ? [...reply] : Object.entries(reply));

async function streams() {
  const first = await client.xadd('orders', '*', 'id', '17', 'what', 'tea');
  await client.xadd('orders', '*', 'id', '18', 'what', 'rice');
  // After the first one; for the next ones, wait up to a second.
  for (const [name, entries] of topics(await client.xread('COUNT', 10, 'BLOCK', 1000, 'STREAMS', 'orders', first))) {
    for (const [, flat] of entries) console.log('read', name, fields(flat).id, fields(flat).what);
  }
  const pipeline = client.pipeline();
  for (let n = 0; n < 1000; n += 1) pipeline.xadd('numbers', '*', 'n', n);
  console.log('pipeline', new Set((await pipeline.exec()).map(([, id]) => id)).size);
  console.log('keys', (await client.keys('*')).sort().join(' '), await client.type('orders'), await client.xlen('numbers'));
  await client.expire('numbers', 60);
  console.log('ttl', await client.ttl('numbers'));
}

async function groups() {
  await client.xgroup('CREATE', 'orders', 'kitchen', '0');
  for (const [, entries] of topics(await client.xreadgroup('GROUP', 'kitchen', 'ann', 'COUNT', 10, 'STREAMS', 'orders', '>'))) {
    for (const [id, flat] of entries) console.log('work', fields(flat).what, await client.xack('orders', 'kitchen', id));
  }
}

async function channels() {
  const listener = client.duplicate();
  const heard = new Promise((resolve) => { listener.on('message', (_, text) => resolve(text)); });
  await listener.subscribe('news');
  await client.publish('news', 'hello');
  console.log('heard', await heard);
  await listener.quit();
}

await streams();
await groups();
await channels();
await client.del('orders', 'numbers');
console.log('left', await client.dbsize());
await client.quit();
