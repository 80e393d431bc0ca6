// drave from Node, with node-redis: node redis.js redis://127.0.0.1:7379
import { createClient } from 'redis';

const client = createClient({ url: process.argv[2] });
client.on('error', (error) => { throw error; });
await client.connect();

async function streams() {
  const first = await client.xAdd('orders', '*', { id: '17', what: 'tea' });
  await client.xAdd('orders', '*', { id: '18', what: 'rice' });
  // After the first one; for the next ones, wait up to a second.
  for (const { name, messages } of await client.xRead({ key: 'orders', id: first }, { COUNT: 10, BLOCK: 1000 })) {
    for (const { message } of messages) console.log('read', name, message.id, message.what);
  }
  const ids = await Promise.all(Array.from({ length: 1000 }, (_, n) => client.xAdd('numbers', '*', { n: String(n) })));
  console.log('pipeline', new Set(ids).size);
  const keys = [];
  for await (const found of client.scanIterator()) keys.push(...found);
  console.log('keys', keys.sort().join(' '), await client.type('orders'), await client.xLen('numbers'));
  await client.expire('numbers', 60);
  console.log('ttl', await client.ttl('numbers'));
}

async function groups() {
  await client.xGroupCreate('orders', 'kitchen', '0');
  for (const { messages } of await client.xReadGroup('kitchen', 'ann', { key: 'orders', id: '>' }, { COUNT: 10 })) {
    for (const { id, message } of messages) console.log('work', message.what, await client.xAck('orders', 'kitchen', id));
  }
}

async function channels() {
  const listener = await client.duplicate().connect();
  const heard = new Promise((resolve) => { listener.subscribe('news', resolve).then(() => client.publish('news', 'hello')); });
  console.log('heard', await heard);
  await listener.close();
}

await streams();
await groups();
await channels();
await client.del(['orders', 'numbers']);
console.log('left', await client.dbSize());
await client.close();
