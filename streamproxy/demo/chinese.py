"""The demo model's Chinese. Code samples are those of the English texts."""

from __future__ import annotations

import re

from streamproxy.demo.speech import Speech, topic

NGINX = """
nginx 不能缓冲回答,否则内容会在最后一次性到达:

```nginx
location / {
    proxy_pass http://127.0.0.1:8888;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_read_timeout 75s;
}
```

多个进程时用 `streamproxy serve --workers 2 --port-per-worker`,
在 `upstream` 里每个进程写一行 `server`,并加上 `least_conn`。
"""

LIMITS = """
限流是**精确的滑动窗口**:在任意一个这样长的窗口内最多 N 次,所有进程合计。

| 设置 | 例子 |
|---|---|
| `STREAMPROXY_LIMITS__REQUESTS` | `3/30s,20/calendar-day`(默认 `60/min`) |
| `STREAMPROXY_LIMITS__TOKENS` | `20000/min` |
| `STREAMPROXY_LIMITS__CONCURRENT_STREAMS` | `4` |

超出时返回 **429** 和 `Retry-After`;等够这段时间就会放行。被拒绝的请求不计数。
"""

SESSIONS = """
请求带上 `X-Session-Id` 就成为一段对话:只需发送新消息,streamproxy 会把之前的内容放在前面;最后一轮之后保留 30 分钟。

```sh
curl -N http://127.0.0.1:8888/v1/chat/completions \\
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "X-Session-Id: my-chat" \\
  -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"我叫小明"}]}'
```

再用同一个会话问**我叫什么名字?**,然后换一个会话再问。对话超过模型窗口时,先去掉中间的部分。
"""

KEY = """
给 streamproxy 一个服务商的密钥,回答您的就是真正的模型了:

```sh
export OPENAI_API_KEY=sk-...
export OPENAI_BASE_URL=https://api.openai.com/v1   # 或任何兼容 OpenAI 的接口
make run                                           # 或:streamproxy serve
```

也可以写在设置文件里(`streamproxy serve --config streamproxy.toml`),例如两个密钥:

```toml
[upstream]
base_url = "https://api.openai.com/v1"
api_keys = ["sk-...", "sk-..."]
models = ["gpt-4o", "gpt-4o-mini"]
```

`streamproxy check-config` 会列出生效的设置及其来源,密钥会被遮住。
"""

SDK = """
任何 OpenAI 客户端只要换一个地址就能用:

```python
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8888/v1", api_key="<bearer 或 API token>")
for chunk in client.chat.completions.create(
    model="demo", messages=[{"role": "user", "content": "你是谁?"}], stream=True
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
```
"""

MODELS = """
这些演示模型可以用来试验前端:

| 模型 | 行为 |
|---|---|
| `demo` | 每秒约 35 个词 |
| `demo-slow` | 先想 4 秒,然后慢慢说 |
| `demo-long` | 把知道的全部说出来 |
| `demo-fail` | 回答到一半出错 |
| `demo-busy` | 返回 429,`Retry-After` 为 2 秒 |

其他名字都由 `demo` 回答。
"""

SHOWCASE = """
### 各种格式

1. **粗体**、*斜体*、`代码`
2. 表情符号,包括组合的:🚀 🌏 👩🏽‍💻 👨‍👩‍👧‍👦 🇨🇳
3. 生僻字:𠮷、𪚥

> 一段引用。

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
**streamproxy** 位于聊天页面和兼容 OpenAI 的接口之间。它

- 用 SSE 把回答逐字流式送出,
- 为每段对话保留 30 分钟上下文,
- 精确地限流,
- 一个密钥失效时换用密钥池里的下一个。

而我是它的**演示模型**:不是语言模型,没有智能,只有预先写好的文字,一个词一个词地打出来,让您在接入服务商之前就能看到这一切。
"""

HELLO = """
您好!👋 我是 streamproxy 的**演示模型**,不是语言模型,只有预先写好的文字。您可以试试:

- 你是谁?
- 怎么接入密钥?
- 会话是怎么工作的?
- 有哪些限流?
- nginx 怎么配置?
- 给我看看 Markdown 和代码
- 有哪些模型可以试?
- 我叫小明(然后问:我叫什么名字?)
"""

CHINESE = Speech(
    topics=(
        topic("nginx", r"nginx|反向代理|缓冲", NGINX),
        topic("限流", r"限流|限制|限额|配额|频率|429", LIMITS),
        topic("会话", r"会话|上下文|对话|记得|记忆", SESSIONS),
        topic("接入密钥", r"密钥|key|接入|连接|配置|设置|服务商", KEY),
        topic("客户端", r"sdk|python|node|客户端|调用|curl|openai", SDK),
        topic("可以试的模型", r"哪些模型|模型列表|试的模型|demo-|慢|长|出错|失败|错误", MODELS),
        topic("格式", r"markdown|代码|表格|格式|表情|例子|示例", SHOWCASE),
        topic("这是什么", r"你是(谁|什么)|是什么|介绍|streamproxy|模型", WHAT),
        topic("您好", r"你好|您好|嗨|帮助|早上好|晚上好", HELLO),
    ),
    no_answer=(
        "这个我没有准备。我是 streamproxy 的**演示模型**,不是语言模型,只认得一些词,例如*密钥*、*会话*、*限流*、"
        "*nginx*、*python*、*Markdown* 和*模型*。接入服务商的密钥后,真正的模型会回答这个问题;可以问我*怎么接入密钥?*"
    ),
    tells_name=re.compile(r"(?:我叫|我的名字是|我的名字叫|请?叫我)\s*((?!什么|啥|谁)[^\s,。!?、,.!?]{1,20})"),
    asks_name=re.compile(r"我叫(什么|啥)|我的名字(是|叫)?(什么|啥)|我是谁|(知道|记得)我(的名字|是谁|叫)"),
    asks_earlier=re.compile(r"我(之前|刚才|刚刚|前面|上次|都)?(都)?(说|问|告诉)(过|了)?(你|您)?(什么|啥|哪些)"),
    asks_to_go_on=re.compile(r"^\W*(请)?(继续|接着说)"),
    pleased="很高兴认识您,**{name}**!过一会儿可以问我您叫什么名字:只要会话还在,我就知道。",
    your_name="您叫**{name}**,这是您之前告诉我的。",
    no_name="在我能看到的对话里,您还没有告诉我您的名字。",
    said_earlier="您之前告诉我:\n\n{quotes}",
    nothing_earlier="这是我能看到的第一条消息,之前没有内容。",
    gone_on="您收到的上一个回答以{quote}结尾。我不能接着说下去,但可以看到它被保留了。",
    no_tools="您提供了工具。我不是语言模型,不能调用工具。",
    no_pictures="您发来了文字以外的内容,我看不到也听不到。",
    other_model="您要的模型是 `{model}`。还没有接入服务商,所以由演示模型回答。",
    everything="您想要一个长的回答,下面是我知道的全部。",
    quote="“{text}”",
    footer="*演示模型,不是语言模型。这是我们对话的第 {number} 条消息。*",
    footer_earlier="*演示模型,不是语言模型。这是我们对话的第 {number} 条消息。您之前告诉我:{quotes}*",
)
