// What the console asks the service: GraphQL by the ids of its documents, which are in documents/, and the exports.

const place = 'product-service.token';

export const token = {
  get: () => sessionStorage.getItem(place) ?? '',
  set: (text) => sessionStorage.setItem(place, text.trim().replace(/^Bearer\s+/i, '')),
};

// Refused is an answer with errors: the first one's code and message.
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function request(accept, document, variables, signal) {
  const headers = { 'Content-Type': 'application/json', Accept: accept };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  return fetch('/graphql', { method: 'POST', headers, signal, body: JSON.stringify({ documentId: `console/${document}`, variables }) });
}

// dataOf returns the data of an answer. A level that can't be had is null beside an error, and is shown as that.
function dataOf(answer) {
  const [error] = (answer.errors ?? []).filter((e) => e.extensions?.code !== 'INVENTORY_UNAVAILABLE');
  if (error) throw new Refused(error.extensions?.code, error.message);
  return answer.data;
}

export async function ask(document, variables, signal) {
  const answer = await request('application/graphql-response+json, application/json', document, variables, signal);
  return dataOf(await answer.json());
}

// follow calls back with each value of a subscription (server-sent events, each `next` with an answer) until the signal says stop.
// A connection that breaks is made again, a subscription that is refused isn't: state is told whether it is live, and why it is refused.
export async function follow(document, variables, signal, callback, state) {
  for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 15_000)) {
    try {
      const answer = await request('text/event-stream', document, variables, signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const events = (text + value).split('\n\n');
        text = events.pop();
        for (const event of events) {
          if (!/^event: next$/m.test(event)) continue;
          callback(dataOf(JSON.parse(event.match(/^data: ?(.*)$/m)[1])));
          state(true);
          pause = 500;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) {
        state(false, error.message);
        return;
      }
    }
    state(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// download saves an export. A link can't carry a token, so with one the file is fetched first.
export async function download(path, name) {
  const link = document.createElement('a');
  link.download = name;
  link.href = path;
  if (token.get()) {
    const answer = await fetch(path, { headers: { Authorization: `Bearer ${token.get()}` } });
    if (!answer.ok) dataOf(await answer.json());
    link.href = URL.createObjectURL(await answer.blob());
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
  link.click();
}
