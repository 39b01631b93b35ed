// JsSIP and sip.js as phones, behind one small interface: register, call, answer, hold,
// transfer, hang up.
// It is the same in Node, which has no media, and in a browser, which has.

import JsSIP from "jssip";
import {
  Inviter,
  Registerer,
  RegistererState,
  SessionState,
  UserAgent,
} from "sip.js";

const PATIENCE = 15000; // milliseconds

/** Return what `arrange(resolve, reject)` comes to, or fail after PATIENCE. */
function outcome(what, arrange) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${what}: nothing happened`)), PATIENCE);
    arrange(resolve, reject);
  });
}

export class JsSipPhone {
  constructor({ url, user, realm, password }) {
    const socket = new JsSIP.WebSocketInterface(url);
    this.ua = new JsSIP.UA({
      sockets: [socket],
      uri: `sip:${user}@${realm}`,
      password,
      register: false,
      register_expires: 120,
    });
    this.realm = realm;
    this.calls = [];
    this.ua.on("newRTCSession", ({ session }) => {
      session.states = [];
      for (const state of ["accepted", "confirmed", "ended", "failed", "hold", "unhold"]) {
        session.on(state, (event) => session.states.push(`${state} ${event.cause ?? ""}`.trim()));
      }
      this.calls.push(session);
      session.on("refer", ({ accept }) => accept(undefined, { mediaConstraints: { audio: true } }));
      session.on("icecandidate", ({ ready }) => ready()); // one candidate is enough here
      if (session.direction === "incoming") session.answer({ mediaConstraints: { audio: true } });
    });
  }

  register() {
    return outcome("register", (resolve, reject) => {
      this.ua.on("registered", ({ response }) => resolve(response.status_code));
      this.ua.on("registrationFailed", ({ cause }) => reject(new Error(cause)));
      this.ua.on("connected", () => this.ua.register());
      this.ua.start();
    });
  }

  unregister() {
    return outcome("unregister", (resolve) => {
      this.ua.on("unregistered", () => resolve(200));
      this.ua.unregister();
    });
  }

  call(user) {
    return outcome("call", (resolve, reject) => {
      const session = this.ua.call(`sip:${user}@${this.realm}`, {
        mediaConstraints: { audio: true, video: false },
      });
      session.on("confirmed", () => resolve("confirmed"));
      session.on("failed", ({ cause }) => reject(new Error(cause)));
    });
  }

  hold() {
    const session = this.calls.at(-1);
    return outcome("hold", (resolve, reject) => {
      session.hold({}, () => resolve("held")) || reject(new Error("cannot hold"));
    });
  }

  /** Have the other party call somebody else; resolves once that call stands. */
  transfer(user) {
    const session = this.calls.at(-1);
    return outcome("transfer", (resolve, reject) => {
      session.refer(`sip:${user}@${this.realm}`, {
        eventHandlers: {
          accepted: () => resolve("transferred"),
          failed: () => reject(new Error("the call to the other failed")),
          requestFailed: ({ cause }) => reject(new Error(cause)),
        },
      });
    });
  }

  hangUp() {
    this.calls.at(-1).terminate();
  }

  states() {
    return this.calls.at(-1)?.states ?? [];
  }

  stop() {
    this.ua.stop();
  }
}

export class SipJsPhone {
  constructor({ url, user, realm, password }) {
    this.realm = realm;
    this.calls = [];
    this.seen = [];
    this.ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${user}@${realm}`),
      transportOptions: { server: url },
      authorizationUsername: user,
      authorizationPassword: password,
      logBuiltinEnabled: false,
      delegate: {
        onInvite: (invitation) => {
          this.watch(invitation);
          invitation.accept();
        },
      },
    });
    this.registerer = new Registerer(this.ua, { expires: 120 });
  }

  watch(session) {
    this.calls.push(session);
    session.delegate = {
      onRefer: async (referral) => {
        await referral.accept();
        const inviter = referral.makeInviter();
        this.watch(inviter);
        inviter.invite();
      },
    };
    session.stateChange.addListener((state) => this.seen.push(String(state)));
  }

  async register() {
    await this.ua.start();
    return outcome("register", (resolve, reject) => {
      this.registerer.register({
        requestDelegate: {
          onAccept: ({ message }) => resolve(message.statusCode),
          onReject: ({ message }) => reject(new Error(String(message.statusCode))),
        },
      });
    });
  }

  unregister() {
    return outcome("unregister", (resolve) => {
      this.registerer.stateChange.addListener((state) => {
        if (state === RegistererState.Unregistered) resolve(200);
      });
      this.registerer.unregister();
    });
  }

  call(user) {
    return outcome("call", (resolve, reject) => {
      const inviter = new Inviter(this.ua, UserAgent.makeURI(`sip:${user}@${this.realm}`));
      this.watch(inviter);
      inviter.stateChange.addListener((state) => {
        if (state === SessionState.Established) resolve("confirmed");
        if (state === SessionState.Terminated) reject(new Error("terminated"));
      });
      inviter.invite();
    });
  }

  hold() {
    const session = this.calls.at(-1);
    session.sessionDescriptionHandlerOptionsReInvite = { hold: true };
    return outcome("hold", (resolve, reject) => {
      session.invite({
        requestDelegate: {
          onAccept: () => resolve("held"),
          onReject: ({ message }) => reject(new Error(String(message.statusCode))),
        },
      });
    });
  }

  /** Have the other party call somebody else; resolves once that call stands. */
  transfer(user) {
    const session = this.calls.at(-1);
    return outcome("transfer", (resolve, reject) => {
      session.refer(UserAgent.makeURI(`sip:${user}@${this.realm}`), {
        onNotify: (notification) => {
          notification.accept();
          if (/^SIP\/2.0 200/.test(notification.request.body)) resolve("transferred");
        },
        requestDelegate: {
          onReject: ({ message }) => reject(new Error(String(message.statusCode))),
        },
      });
    });
  }

  hangUp() {
    this.calls.at(-1).bye();
  }

  states() {
    return this.seen;
  }

  stop() {
    return this.ua.stop();
  }
}

globalThis.phones = { JsSIP: JsSipPhone, "sip.js": SipJsPhone };
