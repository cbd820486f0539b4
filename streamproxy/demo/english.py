"""The demo model's English."""

from __future__ import annotations

import re

from streamproxy.demo.speech import Speech, topic

NGINX = """
nginx must not buffer answers, or they arrive in one piece at the end:

```nginx
upstream streamproxy {
    least_conn;
    server 127.0.0.1:8888;   # one line a worker: streamproxy serve --workers 2 --port-per-worker
    server 127.0.0.1:8889;
    keepalive 64;
}
server {
    location / {
        proxy_pass http://streamproxy;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_buffering off;
        proxy_read_timeout 75s;
    }
}
```

Heartbeats every 10 s keep long silences alive, so that `proxy_read_timeout` needs no hours.
"""

LIMITS = """
Limits are **exact sliding windows**: at most N requests in *any* window of that length, over all workers.

| setting | example |
|---|---|
| `STREAMPROXY_LIMITS__REQUESTS` | `3/30s,20/calendar-day` (default `60/min`) |
| `STREAMPROXY_LIMITS__TOKENS` | `20000/min` |
| `STREAMPROXY_LIMITS__CONCURRENT_STREAMS` | `4` |

Who is over a limit gets **429** with a `Retry-After`; who waits that long is admitted. Refused calls cost nothing.
"""

SESSIONS = """
With the header `X-Session-Id` a call becomes part of a conversation. You send the new message only, streamproxy puts
what was said before in front of it, and forgets it 30 minutes after the last turn:

```sh
curl -N http://127.0.0.1:8888/v1/chat/completions \\
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "X-Session-Id: my-chat" \\
  -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"My name is Ada"}]}'
```

Then ask **What is my name?** with the same session id, and with another one. When a conversation outgrows the
model's window, the middle of it leaves first.
"""

KEY = """
Give streamproxy a provider's key and it will answer with real models instead of me:

```sh
export OPENAI_API_KEY=sk-...
export OPENAI_BASE_URL=https://api.openai.com/v1   # or any OpenAI-compatible API
make run                                           # or: streamproxy serve
```

The same in a settings file (`streamproxy serve --config streamproxy.toml`), here with two keys:

```toml
[upstream]
base_url = "https://api.openai.com/v1"
api_keys = ["sk-...", "sk-..."]
models = ["gpt-4o", "gpt-4o-mini"]
```

`streamproxy check-config` shows what is in force and where it came from, keys masked.
"""

SDK = """
Any OpenAI client works when it is given another base URL. In Python:

```python
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8888/v1", api_key="<bearer or API token>")
for chunk in client.chat.completions.create(
    model="demo", messages=[{"role": "user", "content": "What are you?"}], stream=True
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
```

And in JavaScript:

```js
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8888/v1", apiKey: "<bearer or API token>" });
const stream = await client.chat.completions.create({
  model: "demo", messages: [{ role: "user", content: "What are you?" }], stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
```
"""

MODELS = """
These demo models are there to try what a frontend makes of them:

| model | what it does |
|---|---|
| `demo` | answers at about 35 words a second |
| `demo-slow` | thinks for 4 seconds, then takes its time |
| `demo-long` | tells everything it knows |
| `demo-fail` | breaks off with an error in mid-answer |
| `demo-busy` | refuses with 429 and a `Retry-After` of 2 s |

Any other name is answered by `demo`.
"""

SHOWCASE = """
### A little of everything

1. **bold**, *italic*, `code` and [a link](https://html.spec.whatwg.org/multipage/server-sent-events.html)
2. 中文也可以:你好,世界!
3. emoji, also composed ones: 🚀 🌏 👩🏽‍💻 👨‍👩‍👧‍👦 🇨🇳

> A quotation, as long as it needs to be.

```python
def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
```

| n | 1 | 2 | 3 | 10 |
|---|---|---|---|---|
| `fibonacci(n)` | 1 | 1 | 2 | 55 |
"""

WHAT = """
**streamproxy** stands between chat pages and OpenAI-compatible APIs. It

- streams answers as they grow, by server-sent events,
- keeps the context of each conversation for 30 minutes,
- holds everybody to their limits, exactly,
- takes the next healthy key out of a pool when one fails.

And I am its **demo model**: no language model and no intelligence, only prepared text, typed out word by word. I am
here so that you can see all of this work before you connect a provider.
"""

HELLO = """
Hello! 👋 I am the **demo model** of streamproxy: no language model, only prepared text. Try one of these:

- What are you?
- How do I connect a key?
- How do sessions work?
- Which limits are there?
- How do I put nginx in front?
- Show me Markdown and code.
- Which models are there to try?
- My name is Ada. (Then: What is my name?)
- 你是谁?
"""

ENGLISH = Speech(
    topics=(
        topic("nginx", r"\b(nginx|reverse proxy|buffering)\b", NGINX),
        topic("Limits", r"\b(limits?|limited|quotas?|rate|429|retry-after)\b", LIMITS),
        topic("Sessions", r"\b(sessions?|contexts?|conversations?|remember|memory)\b", SESSIONS),
        topic("A key of your own", r"\b(keys?|connect|configure|set ?up|providers?|upstreams?|openai_\w+)\b", KEY),
        topic("Clients", r"\b(sdk|python|node|javascript|clients?|curl|openai|langchain)\b", SDK),
        topic("Models to try", r"\b(models|demo-\w+|slow|fail(s|ing|ure)?|errors?|busy|long)\b", MODELS),
        topic("Markdown", r"\b(markdown|code|tables?|format\w*|emojis?|chinese|examples?|show)\b", SHOWCASE),
        topic(
            "What this is", r"\b(what|who) (are you|(is )?this|is streamproxy)\b|\b(streamproxy|yourself|demo)\b", WHAT
        ),
        topic("Hello", r"\b(hi|hello|hey|help|good (morning|evening|day))\b", HELLO),
    ),
    no_answer=(
        "I have no text about that. I am the **demo model** of streamproxy, and no language model: I only look for "
        "words I know, such as *key*, *sessions*, *limits*, *nginx*, *python*, *Markdown* and *models*. Connect a "
        "provider's key and a real model will answer this; ask me *How do I connect a key?*"
    ),
    # "I am" only before a capital: most people who are something are not telling their name.
    tells_name=re.compile(r"\b(?:(?i:my name is|call me|i am called)\s+|I(?:'m| am) (?=[A-Z]))([^\W\d_][\w'-]{0,39})"),
    asks_name=re.compile(r"\b(what|who|know|remember|tell)\b.{0,24}\bmy name\b|\bwho am i\b", re.IGNORECASE),
    asks_earlier=re.compile(
        r"\b(what|repeat)\b.{0,24}\b(did|have) I (say|said|tell|told|ask|asked)\b|\bsaid (before|earlier)\b",
        re.IGNORECASE,
    ),
    asks_to_go_on=re.compile(r"^\W*(please )?(go on|continue|carry on)\b", re.IGNORECASE),
    pleased="Pleased to meet you, **{name}**! Ask me later what your name is: I know it while the session lives.",
    your_name="Your name is **{name}**. You told me earlier.",
    no_name="You have not told me your name in what I can see of our conversation.",
    said_earlier="You told me earlier:\n\n{quotes}",
    nothing_earlier="This is the first message that I can see: there is nothing earlier.",
    gone_on="What you have of my last answer ends with {quote}. I cannot go on from there, but it was kept.",
    no_tools="You offer me tools. I am no language model and cannot call them.",
    no_pictures="You sent something that is not text. I cannot see or hear it.",
    other_model="You asked for the model `{model}`. No provider is connected, so the demo model answers.",
    everything="You asked for a long answer, so here is everything that I know.",
    quote="“{text}”",
    footer="*Demo model, no language model. This is message {number} of our conversation.*",
    footer_earlier=(
        "*Demo model, no language model. This is message {number} of our conversation. You told me earlier: {quotes}*"
    ),
)
